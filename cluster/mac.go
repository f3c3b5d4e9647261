package cluster

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/hashicorp/raft"

	"cryptoserve/engine/lp"
	"cryptoserve/engine/secret"
)

// macBytes is the length of a message authentication code: HMAC-SHA256 (FIPS 198-1), not truncated.
const macBytes = sha256.Size

// macKey authenticates what Raft keeps in clear: the frame of each log entry, term and vote, the high-water mark. The
// content of entries is sealed besides; without the code an entry could change its type, index or place.
type macKey struct {
	key     []byte
	cluster string
}

// newMACKey derives the key as HKDF-Expand-SHA256(storage key, lp("cryptoserve/log-mac/1"), 32).
func newMACKey(storage secret.Bytes, cluster string) (*macKey, error) {
	key, err := hkdf.Expand(sha256.New, storage.Reveal(), string(lp.Append(nil, "cryptoserve/log-mac/1")), macBytes)
	if err != nil {
		return nil, fmt.Errorf("cluster: derive the key of authentication codes: %w", err)
	}
	return &macKey{key: key, cluster: cluster}, nil
}

// sum returns HMAC(key, lp(purpose) lp(cluster id) data).
func (k *macKey) sum(purpose string, data []byte) []byte {
	h := hmac.New(sha256.New, k.key)
	h.Write(lp.Append(lp.Append(nil, purpose), k.cluster))
	h.Write(data)
	return h.Sum(nil)
}

// append returns data || code.
func (k *macKey) append(purpose string, data []byte) []byte {
	return append(bytes.Clone(data), k.sum(purpose, data)...)
}

// open returns the data of data || code, false when the code does not fit.
func (k *macKey) open(purpose string, b []byte) ([]byte, bool) {
	if len(b) < macBytes {
		return nil, false
	}
	data, code := b[:len(b)-macBytes], b[len(b)-macBytes:]
	return data, hmac.Equal(code, k.sum(purpose, data))
}

// entry returns the code of a log entry over all its fields but Extensions, where the code is kept.
func (k *macKey) entry(l *raft.Log) ([]byte, error) {
	at, err := l.AppendedAt.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("time of log entry %d: %w", l.Index, err)
	}
	data := make([]byte, 0, 17+2+len(at)+len(l.Data))
	data = binary.BigEndian.AppendUint64(data, l.Index)
	data = binary.BigEndian.AppendUint64(data, l.Term)
	data = append(data, byte(l.Type))
	data = lp.Append(data, at)
	return k.sum("entry", append(data, l.Data...)), nil
}
