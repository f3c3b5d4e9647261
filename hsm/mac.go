package hsm

import (
	"context"
	"fmt"

	"github.com/miekg/pkcs11"

	"cryptoserve/engine/algs"
)

// MAC returns the MAC of a message with the key of a blob: HMAC-SHA256, HMAC-SHA384 or HMAC-SHA512 (FIPS 198-1; 32, 48 or 64
// bytes) or AES-CMAC (SP 800-38B; 16 bytes), as the algorithm's name says. fault.TooLarge when the message is longer than
// MaxMessage.
func (t *Token) MAC(ctx context.Context, name algs.Name, blob, message []byte) (mac []byte, err error) {
	const op = "hsm.MAC"
	k, err := kindOf(op, name, pkcs11.CKM_SHA256_HMAC, pkcs11.CKM_SHA384_HMAC, pkcs11.CKM_SHA512_HMAC, pkcs11.CKM_AES_CMAC)
	if err != nil {
		return nil, err
	}
	if err := checkMessage(op, message); err != nil {
		return nil, err
	}
	err = t.do(ctx, op, func(s *session) error {
		if err := t.offered(op, k); err != nil {
			return err
		}
		return t.withWrapped(ctx, op, s, k, blob, func(held *heldKey) error {
			mac, err = sign(t.module, s, pkcs11.NewMechanism(k.use, nil), held.handle, message)
			if err == nil && len(mac) != k.macBytes() {
				err = fmt.Errorf("the token made a MAC of %d bytes, not %d", len(mac), k.macBytes())
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return mac, nil
}

// macBytes is the length of a MAC of this kind.
func (k *kind) macBytes() int {
	switch k.use {
	case pkcs11.CKM_SHA256_HMAC:
		return 32
	case pkcs11.CKM_SHA384_HMAC:
		return 48
	case pkcs11.CKM_SHA512_HMAC:
		return 64
	default:
		return 16 // AES-CMAC
	}
}
