package engine

import (
	"context"
	"encoding/binary"

	"cryptoserve/engine/keys"
	"cryptoserve/engine/lp"
	"cryptoserve/engine/secret"
)

// Purposes of keys that are derived from the master key beside data keys. DESIGN section 3.2.
const (
	purposeDEK          = "dek"
	PurposeStorage      = "storage"       // seals the Raft log and snapshots
	purposeKeySeal      = "key-seal"      // seals private keys at rest
	purposeRefreshToken = "refresh-token" // signs refresh tokens, HS256
	PurposeSession      = "session"       // seals what a browser keeps during a sign-in
	PurposeBackup       = "backup"        // seals backups; without an id of a cluster
)

const derivedBytes = 32

// PurposeInfo returns the info of HKDF-Expand for a purpose: lp("cryptoserve/1/" + purpose) lp(part)...
func PurposeInfo(purpose string, parts ...string) []byte {
	info := lp.Append(nil, "cryptoserve/1/"+purpose)
	for _, p := range parts {
		info = lp.Append(info, p)
	}
	return info
}

// dekInfo returns the info a version's data key is expanded with:
// lp("cryptoserve/1/dek") lp(tenant id) lp(context name) uint32(version) uint16(bits) lp(salt).
func dekInfo(v *keys.Version) []byte {
	info := PurposeInfo(purposeDEK, v.Tenant, v.Context)
	info = binary.BigEndian.AppendUint32(info, v.Number)
	info = binary.BigEndian.AppendUint16(info, v.Bits)
	return lp.Append(info, v.Salt)
}

func (e *Engine) deriveDEK(ctx context.Context, v *keys.Version) (secret.Bytes, error) {
	return e.vault.Expand(ctx, dekInfo(v), int(v.Bits)/8)
}
