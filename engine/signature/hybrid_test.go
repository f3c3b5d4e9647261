package signature

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"errors"
	"testing"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/vectortest"
)

// TestHybridLayout makes and takes apart a signature with nothing but the description in the package comment.
func TestHybridLayout(t *testing.T) {
	p := testPair(t, algs.Ed25519MLDSA65)
	message, context := []byte("a message"), []byte("a context")
	digest := sha512.Sum512(message)
	prefix := "CompositeAlgorithmSignatures2025COMPSIG-MLDSA65-Ed25519-SHA512"
	m := bytes.Join([][]byte{[]byte(prefix), {9}, context, digest[:]}, nil)

	signature := mustSign(t, mustPrivate(t, algs.Ed25519MLDSA65, p.private), message, Options{Context: context})
	if !ed25519.Verify(p.public[:32], m, signature[:64]) {
		t.Error("the first half is not an Ed25519 signature of M'")
	}
	var lattice mldsa65.PublicKey
	if err := lattice.UnmarshalBinary(p.public[32:]); err != nil {
		t.Fatal(err)
	}
	if !mldsa65.Verify(&lattice, m, []byte("COMPSIG-MLDSA65-Ed25519-SHA512"), signature[64:]) {
		t.Error("the second half is not an ML-DSA-65 signature of M'")
	}

	seed := [32]byte(p.private[32:])
	_, key := mldsa65.NewKeyFromSeed(&seed)
	second := make([]byte, mldsa65.SignatureSize)
	if err := mldsa65.SignTo(key, m, []byte("COMPSIG-MLDSA65-Ed25519-SHA512"), true, second); err != nil {
		t.Fatal(err)
	}
	own := append(ed25519.Sign(ed25519.NewKeyFromSeed(p.private[:32]), m), second...)
	if err := mustPublic(t, algs.Ed25519MLDSA65, p.public).Verify(message, own, Options{Context: context}); err != nil {
		t.Errorf("a signature made by hand: %v", err)
	}
}

// TestHybridWantsBothHalves pairs halves of valid signatures with others, and tries them alone.
func TestHybridWantsBothHalves(t *testing.T) {
	const name = algs.Ed25519MLDSA65
	private, public := testKeys(t, name)
	message := []byte("a message")
	signature := mustSign(t, private, message, Options{})
	other := mustSign(t, private, []byte("another message"), Options{})
	_, strangerPrivate, err := Generate(name)
	if err != nil {
		t.Fatal(err)
	}
	stranger := mustSign(t, mustPrivate(t, name, strangerPrivate), message, Options{})
	for what, bad := range map[string][]byte{
		"Ed25519 of another message": joined(other[:64], signature[64:]),
		"ML-DSA of another message":  joined(signature[:64], other[64:]),
		"Ed25519 of another key":     joined(stranger[:64], signature[64:]),
		"ML-DSA of another key":      joined(signature[:64], stranger[64:]),
		"no Ed25519":                 joined(make([]byte, 64), signature[64:]),
		"no ML-DSA":                  joined(signature[:64], make([]byte, mldsa65.SignatureSize)),
		"the other order":            joined(signature[64:], signature[:64]),
		"Ed25519 alone":              signature[:64],
		"ML-DSA alone":               signature[64:],
	} {
		if err := public.Verify(message, bad, Options{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// A half that is cut off is no signature of the single algorithm, with whatever context that allows.
	classical := mustPublic(t, algs.Ed25519, public.Bytes()[:32])
	lattice := mustPublic(t, algs.MLDSA65, public.Bytes()[32:])
	digest := sha512.Sum512(message)
	for what, err := range map[string]error{
		"Ed25519":             classical.Verify(message, signature[:64], Options{}),
		"Ed25519ph":           classical.Verify(digest[:], signature[:64], Options{Prehashed: true}),
		"ML-DSA":              lattice.Verify(message, signature[64:], Options{}),
		"ML-DSA, the label":   lattice.Verify(message, signature[64:], Options{Context: []byte(hybridLabel)}),
		"ML-DSA of M', empty": lattice.Verify(representative(message, settings{}), signature[64:], Options{}),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("half as %s: %v", what, err)
		}
	}
}

// TestVectorsComposite reads the composite of the LAMPS draft, whose halves are the other way round.
func TestVectorsComposite(t *testing.T) {
	v := fromTestdata[struct {
		Message, Context, Public, Private, Signature vectortest.Hex
		WithContext                                  vectortest.Hex `json:"signature_with_context"`
	}](t, "composite.json")
	a := vectortest.New(t, string(algs.Ed25519MLDSA65), "draft-ietf-lamps-pq-composite-sigs")
	swap := func(b []byte, first int) []byte { return joined(b[first:], b[:first]) }
	private := mustPrivate(t, algs.Ed25519MLDSA65, swap(v.Private, 32))
	a.Check("keys", true, vectortest.Differ("public key", string(private.Public()), string(swap(v.Public, 1952))))
	public := mustPublic(t, algs.Ed25519MLDSA65, swap(v.Public, 1952))
	a.Check("signature", true, public.Verify(v.Message, swap(v.Signature, 3309), Options{}))
	a.Check("signature with context", true, public.Verify(v.Message, swap(v.WithContext, 3309), Options{Context: v.Context}))
	a.Check("context left out", false, public.Verify(v.Message, swap(v.WithContext, 3309), Options{}))
	a.Check("context added", false, public.Verify(v.Message, swap(v.Signature, 3309), Options{Context: v.Context}))
}
