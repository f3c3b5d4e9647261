package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"io"

	"cryptoserve/engine/fault"
)

// NodeSigner returns the node's key pair, ECDSA P-256. It works across outages of the token: each signature uses the
// key as it is found then. Its Public is an *ecdsa.PublicKey, and nil when no keys are loaded yet. Sign takes a
// SHA-256, SHA-384 or SHA-512 digest and returns an ASN.1 DER signature (RFC 3279 section 2.2.3); it waits for the
// token no longer than Config.Wait, and ignores the source of randomness it is given, because the token has its own.
func (t *Token) NodeSigner() crypto.Signer { return nodeSigner{t} }

type nodeSigner struct{ t *Token }

func (n nodeSigner) Public() crypto.PublicKey {
	keys := n.t.keys.Load()
	if keys == nil {
		return nil
	}
	return keys.identity.node
}

func (n nodeSigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) (signature []byte, err error) {
	const op = "hsm.NodeSigner"
	digest, err = leftmost(op, digest, opts)
	if err != nil {
		return nil, err
	}
	err = n.t.do(context.Background(), op, func(*session) error {
		keys, err := n.t.loaded(op)
		if err != nil {
			return err
		}
		// crypto11 uses a session of its own; ours is the permission to make the call.
		signature, err = keys.node.Sign(random, digest, crypto.SHA256)
		if err != nil {
			return err
		}
		return checkSignature(keys.identity.node, digest, signature)
	})
	return signature, err
}

// leftmost returns the leftmost 32 bytes of the digest, which is what ECDSA uses of it with a curve of that order
// (FIPS 186-5 section 6.4.1 step 2).
func leftmost(op string, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	switch h := opts.HashFunc(); h {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512:
		if len(digest) != h.Size() {
			return nil, fault.New(fault.Malformed, op, fmt.Sprintf("a %v digest has %d bytes", h, h.Size()))
		}
		return digest[:sha256.Size], nil
	default:
		return nil, fault.New(fault.AlgorithmDisallowed, op, "the key signs SHA-256, SHA-384 and SHA-512 digests only")
	}
}

// checkSignature keeps a faulty signature in the node: it can give the private key away.
func checkSignature(pub *ecdsa.PublicKey, digest, signature []byte) error {
	if !ecdsa.VerifyASN1(pub, digest, signature) {
		return errBadSignature
	}
	return nil
}

var errBadSignature = fault.New(fault.Internal, "hsm.sign", "the token made a signature that does not verify")
