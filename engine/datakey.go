package engine

import (
	"context"
	"fmt"

	"cryptoserve/engine/policy"
)

// DataKeyRequest asks for a new random key, encrypted in a context: envelope encryption by the caller.
type DataKeyRequest struct {
	Context        string
	AssociatedData []byte
	Bytes          int // 16, 24, 32 or 64; 0 means 32
}

// DataKeyResult holds the key twice: in clear, unless only the wrapped form was asked for, and as a frame that Decrypt opens.
type DataKeyResult struct {
	Plaintext []byte
	Wrapped   EncryptResult
}

const defaultDataKeyBytes = 32

// DataKey makes a data key. Without plaintext the key is for somebody else who may decrypt.
func (e *Engine) DataKey(ctx context.Context, c *Call, in *DataKeyRequest, plaintext bool) (DataKeyResult, error) {
	action := policy.DataKeyWrapped
	if plaintext {
		action = policy.DataKey
	}
	r := c.begin(action)
	r.Context = in.Context
	out, err := func() (DataKeyResult, error) {
		n := in.Bytes
		switch n {
		case 0:
			n = defaultDataKeyBytes
		case 16, 24, 32, 64:
		default:
			return DataKeyResult{}, malformedField("bytes", "is none of 16, 24, 32, 64")
		}
		// Not before it is known that the subject may: the token's random numbers are not for everybody.
		if _, err := e.authorize(c, action, in.Context); err != nil {
			return DataKeyResult{}, err
		}
		key, err := e.vault.Random(ctx, n)
		if err != nil {
			return DataKeyResult{}, err
		}
		wrapped, err := e.encrypt(ctx, c, action, &EncryptRequest{
			Context: in.Context, Plaintext: key, AssociatedData: in.AssociatedData,
		}, &r)
		if err != nil || !plaintext {
			clear(key)
			key = nil
		}
		return DataKeyResult{Plaintext: key, Wrapped: wrapped}, err
	}()
	if err := e.finish(c, &r, err); err != nil {
		clear(out.Plaintext)
		return DataKeyResult{}, err
	}
	return out, nil
}

// MaxRandomBytes is the most random bytes of one call.
const MaxRandomBytes = 64 << 10

// Random returns n bytes of the token's random generator.
func (e *Engine) Random(ctx context.Context, c *Call, n int) ([]byte, error) {
	r := c.begin(policy.Random)
	var out []byte
	err := e.authorizeFree(c, policy.Random)
	if err == nil && (n < 1 || n > MaxRandomBytes) {
		err = malformedField("bytes", fmt.Sprintf("is not between 1 and %d", MaxRandomBytes))
	}
	if err == nil {
		out, err = e.vault.Random(ctx, n)
	}
	if err == nil {
		err = e.stillFree(c, policy.Random)
	}
	r.Out = len(out)
	if err := e.finish(c, &r, err); err != nil {
		clear(out)
		return nil, err
	}
	return out, nil
}
