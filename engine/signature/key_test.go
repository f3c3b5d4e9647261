package signature

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

func TestEveryRowHasAScheme(t *testing.T) {
	all := names()
	for _, name := range all {
		if schemes[name] == nil {
			t.Errorf("%s has no scheme", name)
		}
	}
	if len(all) != len(schemes) {
		t.Errorf("%d schemes for %d rows", len(schemes), len(all))
	}
}

// sizes are those of RFC 8032, SEC 1, RFC 8017, FIPS 204 table 2 and FIPS 205 table 2. Zero: the length varies.
var sizes = map[algs.Name]struct{ public, private, signature int }{
	algs.Ed25519: {32, 32, 64}, algs.ECDSAP256: {65, 32, 64}, algs.ECDSAP384: {97, 48, 96}, algs.ECDSAP521: {133, 66, 132},
	algs.RSAPSS2048: {270, 0, 256}, algs.RSAPSS3072: {398, 0, 384}, algs.RSAPSS4096: {526, 0, 512},
	algs.RSAPKCS12048: {270, 0, 256}, algs.RSAPKCS13072: {398, 0, 384}, algs.RSAPKCS14096: {526, 0, 512},
	algs.MLDSA44: {1312, 32, 2420}, algs.MLDSA65: {1952, 32, 3309}, algs.MLDSA87: {2592, 32, 4627},
	algs.SLHDSASHA2128s: {32, 64, 7856}, algs.SLHDSASHAKE128s: {32, 64, 7856},
	algs.SLHDSASHA2128f: {32, 64, 17088}, algs.SLHDSASHAKE128f: {32, 64, 17088},
	algs.SLHDSASHA2192s: {48, 96, 16224}, algs.SLHDSASHAKE192s: {48, 96, 16224},
	algs.SLHDSASHA2192f: {48, 96, 35664}, algs.SLHDSASHAKE192f: {48, 96, 35664},
	algs.SLHDSASHA2256s: {64, 128, 29792}, algs.SLHDSASHAKE256s: {64, 128, 29792},
	algs.SLHDSASHA2256f: {64, 128, 49856}, algs.SLHDSASHAKE256f: {64, 128, 49856},
	algs.Ed25519MLDSA65: {1984, 64, 3373},
}

// TestRoundTripAndSizes signs once with every algorithm and then tries what must not verify.
func TestRoundTripAndSizes(t *testing.T) {
	message := []byte("a message")
	for _, name := range names() {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			want := sizes[name]
			p := testPair(t, name)
			private, public := testKeys(t, name)
			if len(p.public) != want.public || want.private != 0 && len(p.private) != want.private {
				t.Errorf("a pair of %d and %d bytes, not %d and %d", len(p.public), len(p.private), want.public, want.private)
			}
			if !bytes.Equal(private.Public(), p.public) || !bytes.Equal(public.Bytes(), p.public) {
				t.Error("the halves of the pair disagree")
			}
			if slowsDown(name) {
				return // TestVectorsSLHDSAVerify has signatures of others
			}
			o := Options{Format: FormatRaw}
			signature := mustSign(t, private, message, o)
			if len(signature) != want.signature {
				t.Errorf("a signature of %d bytes, not %d", len(signature), want.signature)
			}
			if err := public.Verify(message, signature, o); err != nil {
				t.Fatalf("own signature: %v", err)
			}
			for what, try := range map[string]struct{ message, signature []byte }{
				"another message":     {[]byte("a messagE"), signature},
				"no message":          {nil, signature},
				"no signature":        {message, nil},
				"one byte":            {message, signature[:1]},
				"a byte less":         {message, signature[:len(signature)-1]},
				"a byte more":         {message, append(bytes.Clone(signature), 0)},
				"a zero before":       {message, append([]byte{0}, signature...)},
				"all zero":            {message, make([]byte, len(signature))},
				"all ones":            {message, bytes.Repeat([]byte{0xff}, len(signature))},
				"twice as long":       {message, append(bytes.Clone(signature), signature...)},
				"first bit changed":   {message, flip(signature, 0)},
				"last bit changed":    {message, flip(signature, 8*len(signature)-1)},
				"middle bit changed":  {message, flip(signature, 4*len(signature)+3)},
				"halves interchanged": {message, append(bytes.Clone(signature[len(signature)/2:]), signature[:len(signature)/2]...)},
			} {
				if err := public.Verify(try.message, try.signature, o); !errors.Is(err, ErrInvalid) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

func flip(b []byte, bit int) []byte {
	c := bytes.Clone(b)
	c[bit/8] ^= 1 << (bit % 8)
	return c
}

// TestAnyMessageSigns tries messages, contexts and hashes at random with the algorithms that are quick.
func TestAnyMessageSigns(t *testing.T) {
	quick := []algs.Name{algs.Ed25519, algs.ECDSAP256, algs.ECDSAP384, algs.ECDSAP521, algs.RSAPSS2048, algs.RSAPKCS12048,
		algs.MLDSA44, algs.MLDSA65, algs.MLDSA87, algs.Ed25519MLDSA65}
	for _, name := range quick {
		private, public := testKeys(t, name)
		rapid.Check(t, func(t *rapid.T) {
			message := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "message")
			var o Options
			switch private.scheme.(type) {
			case *ecdsaScheme:
				o.Format = rapid.SampledFrom([]Format{FormatDefault, FormatDER, FormatRaw}).Draw(t, "format")
				o.Hash = rapid.SampledFrom([]algs.Name{"", algs.SHA512, algs.SHA3_512}).Draw(t, "hash")
			case rsaScheme:
				o.Hash = rapid.SampledFrom(append(slices.Sorted(maps.Keys(hashes)), "")).Draw(t, "hash")
			case ed25519Scheme:
			default:
				o.Context = rapid.SliceOfN(rapid.Byte(), 0, maxContext).Draw(t, "context")
			}
			signature, err := private.Sign(message, o)
			if err != nil {
				t.Fatal(err)
			}
			if err := public.Verify(message, signature, o); err != nil {
				t.Fatal(err)
			}
			other := append(bytes.Clone(message), 0)
			if err := public.Verify(other, signature, o); !errors.Is(err, ErrInvalid) {
				t.Fatalf("another message: %v", err)
			}
			if len(o.Context) > 0 {
				o.Context = o.Context[1:]
				if err := public.Verify(message, signature, o); !errors.Is(err, ErrInvalid) {
					t.Fatalf("another context: %v", err)
				}
			}
		})
	}
}

// mangled returns strings that are never a key when b is one.
func mangled(b []byte) [][]byte {
	return [][]byte{nil, {0}, b[1:], b[:len(b)-1], append(bytes.Clone(b), 0), make([]byte, 1<<20)}
}

func TestKeysThatAreRefused(t *testing.T) {
	for _, name := range names() {
		t.Run(string(name), func(t *testing.T) {
			p := testPair(t, name)
			for _, bad := range mangled(p.public) {
				if _, err := ParsePublic(name, bad); !errors.Is(err, fault.Malformed) {
					t.Errorf("a public key of %d bytes: %v", len(bad), err)
				}
			}
			for _, bad := range mangled(p.private) {
				if _, err := ParsePrivate(name, bad); !errors.Is(err, fault.Malformed) {
					t.Errorf("a private key of %d bytes: %v", len(bad), err)
				}
			}
		})
	}
	for _, name := range []algs.Name{"", "RSA-PSS-1024", algs.AES256GCM, algs.MLKEM768, "ed25519"} {
		_, _, generated := Generate(name)
		_, private := ParsePrivate(name, make([]byte, 32))
		_, public := ParsePublic(name, make([]byte, 32))
		_, _, imported := ImportPKCS8(name, nil)
		for _, err := range []error{generated, private, public, imported} {
			if !errors.Is(err, fault.Malformed) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

func TestScalarsOutOfRangeAreRefused(t *testing.T) {
	for _, name := range []algs.Name{algs.ECDSAP256, algs.ECDSAP384, algs.ECDSAP521} {
		c := schemes[name].(*ecdsaScheme)
		for what, scalar := range map[string][]byte{
			"zero":      make([]byte, c.order),
			"the order": c.curve.Params().N.FillBytes(make([]byte, c.order)),
			"all ones":  bytes.Repeat([]byte{0xff}, c.order),
		} {
			if _, err := ParsePrivate(name, scalar); !errors.Is(err, fault.Malformed) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		point := testPair(t, name).public
		for what, bad := range map[string][]byte{
			"off the curve": flip(point, 8*len(point)-8),
			"compressed":    append([]byte{2 + point[len(point)-1]&1}, point[1:1+c.order]...),
			"infinity":      {0},
			"hybrid form":   append([]byte{6 + point[len(point)-1]&1}, point[1:]...),
			"x and y zero":  append([]byte{4}, make([]byte, 2*c.order)...),
		} {
			if _, err := ParsePublic(name, bad); !errors.Is(err, fault.Malformed) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
}

func TestOptionsThatDoNotFit(t *testing.T) {
	digest32, digest64 := make([]byte, 32), make([]byte, 64)
	tests := []struct {
		name    algs.Name
		message []byte
		o       Options
		field   string
	}{
		{algs.Ed25519, nil, Options{Hash: algs.SHA512}, "hash"},
		{algs.Ed25519, digest32, Options{Hash: algs.SHA256, Prehashed: true}, "hash"},
		{algs.Ed25519, digest32, Options{Prehashed: true}, "message"},
		{algs.Ed25519, nil, Options{Format: FormatDER}, "signature_format"},
		{algs.Ed25519, nil, Options{Context: []byte("c")}, "signature_context"},
		{algs.ECDSAP256, nil, Options{Hash: "SHA-1"}, "hash"},
		{algs.ECDSAP256, nil, Options{Hash: algs.SHA224}, "hash"},
		{algs.ECDSAP256, nil, Options{Context: []byte("c")}, "signature_context"},
		{algs.ECDSAP256, digest64, Options{Prehashed: true}, "message"},
		{algs.ECDSAP256, nil, Options{Prehashed: true}, "message"},
		{algs.ECDSAP384, nil, Options{Hash: algs.SHA256}, "hash"},
		{algs.ECDSAP384, nil, Options{Hash: algs.SHA3_256}, "hash"},
		{algs.ECDSAP521, nil, Options{Hash: algs.SHA384}, "hash"},
		{algs.RSAPSS2048, nil, Options{Hash: algs.SHAKE256}, "hash"},
		{algs.RSAPSS2048, nil, Options{Format: FormatDER}, "signature_format"},
		{algs.RSAPKCS14096, digest32, Options{Prehashed: true}, "message"}, // its default is SHA-384
		{algs.RSAPKCS12048, nil, Options{Context: []byte("c")}, "signature_context"},
		{algs.MLDSA65, digest64, Options{Prehashed: true}, "prehashed"},
		{algs.MLDSA65, nil, Options{Hash: algs.SHA512}, "hash"},
		{algs.MLDSA65, nil, Options{Context: make([]byte, 256)}, "signature_context"},
		{algs.SLHDSASHA2128f, digest64, Options{Prehashed: true}, "prehashed"},
		{algs.SLHDSASHA2128f, nil, Options{Context: make([]byte, 256)}, "signature_context"},
		{algs.Ed25519MLDSA65, digest32, Options{Prehashed: true}, "message"},
		{algs.Ed25519MLDSA65, nil, Options{Hash: algs.SHA512}, "hash"},
		{algs.Ed25519MLDSA65, nil, Options{Context: make([]byte, 256)}, "signature_context"},
	}
	for _, tt := range tests {
		private, public := testKeys(t, tt.name)
		_, signed := private.Sign(tt.message, tt.o)
		for _, err := range []error{signed, public.Verify(tt.message, nil, tt.o)} {
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Malformed || len(f.Fields) != 1 || f.Fields[0].Name != tt.field {
				t.Errorf("%s with %+v: %v, want the field %s", tt.name, tt.o, err, tt.field)
			}
		}
	}
}

// TestPrehashed shows what the digest of a message stands for: the same signature, except with Ed25519.
func TestPrehashed(t *testing.T) {
	message := []byte("a message")
	for name, same := range map[algs.Name]bool{
		algs.ECDSAP256: true, algs.RSAPSS2048: true, algs.RSAPKCS14096: true, algs.Ed25519MLDSA65: true, algs.Ed25519: false,
	} {
		private, public := testKeys(t, name)
		hash := algs.SHA512
		if s, err := private.scheme.settle("test", Options{}); err != nil {
			t.Fatal(err)
		} else if s.hash != 0 {
			hash = hashName(s.hash)
		}
		h := hashes[hash].New()
		h.Write(message)
		digest := h.Sum(nil)
		signature := mustSign(t, private, digest, Options{Prehashed: true})
		if err := public.Verify(digest, signature, Options{Prehashed: true}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := public.Verify(message, signature, Options{}); (err == nil) != same {
			t.Errorf("%s: the signature of the digest is that of the message: %v", name, err)
		}
		if err := public.Verify(digest, signature, Options{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: the digest verifies as a message: %v", name, err)
		}
	}
}

// TestPaddingsAndHashesDoNotMix signs with one padding or hash and verifies with another of the same key.
func TestPaddingsAndHashesDoNotMix(t *testing.T) {
	message := []byte("a message")
	pss, pssPublic := testKeys(t, algs.RSAPSS2048)
	pkcs1, pkcs1Public := testKeys(t, algs.RSAPKCS12048)
	if !bytes.Equal(pss.Public(), pkcs1.Public()) {
		t.Fatal("the test wants one key")
	}
	for what, err := range map[string]error{
		"PSS as PKCS#1":       pkcs1Public.Verify(message, mustSign(t, pss, message, Options{}), Options{}),
		"PKCS#1 as PSS":       pssPublic.Verify(message, mustSign(t, pkcs1, message, Options{}), Options{}),
		"SHA-256 as SHA3-256": pssPublic.Verify(message, mustSign(t, pss, message, Options{}), Options{Hash: algs.SHA3_256}),
		"SHA-512 as SHA-256":  pkcs1Public.Verify(message, mustSign(t, pkcs1, message, Options{Hash: algs.SHA512}), Options{}),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestKeysAreSharedByGoroutines(t *testing.T) {
	for _, name := range []algs.Name{algs.Ed25519, algs.ECDSAP256, algs.RSAPSS2048, algs.RSAPKCS12048, algs.MLDSA44,
		algs.SLHDSASHA2128f, algs.Ed25519MLDSA65} {
		private, public := testKeys(t, name)
		var group sync.WaitGroup
		for i := range 4 {
			group.Go(func() {
				message := fmt.Appendf(nil, "message %d", i)
				signature, err := private.Sign(message, Options{})
				if err == nil {
					err = public.Verify(message, signature, Options{})
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		group.Wait()
	}
}

func TestDestroy(t *testing.T) {
	for _, name := range names() {
		private, _ := testKeys(t, name)
		signer := private.signer
		private.Destroy()
		private.Destroy()
		if _, err := private.Sign([]byte("m"), Options{}); !errors.Is(err, fault.Internal) {
			t.Errorf("%s signs after Destroy: %v", name, err)
		}
		switch k := signer.(type) {
		case ed25519Private:
			if !bytes.Equal(k, make([]byte, len(k))) {
				t.Errorf("%s is still there", name)
			}
		case *ecdsaPrivate:
			if !zero(k.key.D.Bits()) { //nolint:staticcheck // SA1019: the scalar itself is what must be gone
				t.Errorf("%s is still there", name)
			}
		case *rsaPrivate:
			if !zero(k.key.D.Bits()) || !zero(k.key.Primes[0].Bits()) || !zero(k.key.Precomputed.Dp.Bits()) {
				t.Errorf("%s is still there", name)
			}
		}
	}
}

func zero[W ~uint](words []W) bool {
	for _, w := range words {
		if w != 0 {
			return false
		}
	}
	return true
}

// TestInvariant07PrivateKeysAreNotPrinted prints keys in every way and looks for their bytes.
func TestInvariant07PrivateKeysAreNotPrinted(t *testing.T) {
	for _, name := range []algs.Name{algs.Ed25519, algs.ECDSAP256, algs.RSAPSS2048, algs.MLDSA65, algs.Ed25519MLDSA65} {
		private, _ := testKeys(t, name)
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", private)
			fmt.Fprintf(&out, verb+"\n", *private)
			fmt.Fprintf(&out, verb+"\n", struct{ Key *PrivateKey }{private})
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "key", private, "value", *private)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "key", private, "value", *private)
		for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
			says := strings.Contains(line, "private key of "+string(name)) || strings.Contains(line, "{}") || strings.Contains(line, "0x")
			if !says || len(line) > 250 {
				t.Errorf("%s prints as %d bytes", name, len(line))
			}
		}
	}
}

// TestGenerate makes pairs, which other tests partly take from vectors. RSA with more bits differs in nothing but time.
func TestGenerate(t *testing.T) {
	for _, name := range names() {
		if c, ok := schemes[name].(rsaScheme); ok && c.bits > 2048 || slowsDown(name) {
			continue
		}
		public, private, err := Generate(name)
		if err != nil {
			t.Fatal(err)
		}
		mustPublic(t, name, public)
		if !bytes.Equal(mustPrivate(t, name, private).Public(), public) {
			t.Errorf("%s: the halves of the pair disagree", name)
		}
		_, again, err := Generate(name)
		if err != nil || bytes.Equal(private, again) {
			t.Errorf("%s: the same pair twice, %v", name, err)
		}
	}
}

func TestParseFormat(t *testing.T) {
	for _, f := range []Format{FormatDefault, FormatDER, FormatRaw} {
		if got, err := ParseFormat(f.String()); got != f || err != nil {
			t.Errorf("%v is read as %v, %v", f, got, err)
		}
	}
	if _, err := ParseFormat("DER"); !errors.Is(err, fault.Malformed) {
		t.Errorf("an unknown format: %v", err)
	}
}
