package kem

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

type pair struct{ public, private []byte }

var pairs sync.Map // name -> func() (pair, error)

// keyPair returns a key pair of the algorithm, the same for all tests: making one of RSA takes long. A read-only algorithm
// has that of the one that wrote for it.
func keyPair(t testing.TB, name algs.Name) pair {
	t.Helper()
	if name == algs.ChaCha20Poly1305MLKEM768 {
		name = algs.AES256GCMMLKEM768
	}
	maker, _ := pairs.LoadOrStore(name, sync.OnceValues(func() (pair, error) {
		public, private, err := Generate(name)
		return pair{public, private}, err
	}))
	p, err := maker.(func() (pair, error))()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustPrivate(t testing.TB, name algs.Name, private []byte) *PrivateKey {
	t.Helper()
	key, err := ParsePrivate(name, private)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustPublic(t testing.TB, name algs.Name, public []byte) *PublicKey {
	t.Helper()
	key, err := ParsePublic(name, public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// names returns the algorithms of the classes in the order of the table.
func names(classes ...algs.Class) []algs.Name {
	var list []algs.Name
	for _, r := range algs.Rows() {
		if _, ok := algs.Of(r.Name, classes...); ok {
			list = append(list, r.Name)
		}
	}
	return list
}

var (
	encapsulating = names(algs.ClassKEM, algs.ClassHybrid)
	agreeing      = names(algs.ClassAgreement)
	encrypting    = names(algs.ClassPublicEncryption)
	all           = names(algs.ClassKEM, algs.ClassHybrid, algs.ClassAgreement, algs.ClassPublicEncryption)
)

func wantKind(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if !errors.Is(err, kind) || fault.Of(err) != kind {
		t.Errorf("%s: got %v, want %s", what, err, kind.Code())
	}
}

func TestEveryAlgorithmOfTheClassesIsHere(t *testing.T) {
	for _, name := range all {
		if _, err := Sizes(name); err != nil {
			t.Error(name, err)
		}
	}
	if len(all) != len(schemes) || len(encapsulating) != 9 || len(agreeing) != 3 || len(encrypting) != 13 {
		t.Errorf("%d, %d and %d algorithms, %d schemes", len(encapsulating), len(agreeing), len(encrypting), len(schemes))
	}
}

// TestSizes has the numbers of the specifications: FIPS 203 table 3, draft-connolly-cfrg-xwing-kem-10 section 5.1, RFC 9180
// section 7.1, draft-ietf-hpke-pq, RFC 8017 section 7.1.1, and those of ECIES from doc.go.
func TestSizes(t *testing.T) {
	const m = MaxPlaintext
	mlkem768 := Size{Public: 1184, Private: 64, Ciphertext: 1088, Secret: 32}
	mlkem1024 := Size{Public: 1568, Private: 64, Ciphertext: 1568, Secret: 32}
	xwing := Size{Public: 1216, Private: 32, Ciphertext: 1120, Secret: 32}
	want := map[algs.Name]Size{
		algs.MLKEM512:  {Public: 800, Private: 64, Ciphertext: 768, Secret: 32},
		algs.MLKEM768:  mlkem768,
		algs.MLKEM1024: mlkem1024,
		algs.XWing:     xwing,

		algs.AES256GCMMLKEM768:        mlkem768,
		algs.AES256GCMMLKEM1024:       mlkem1024,
		algs.ChaCha20Poly1305MLKEM768: mlkem768,
		algs.X25519MLKEM768AES256GCM:  xwing,
		algs.P256MLKEM768AES256GCM:    {Public: 1249, Private: 32, Ciphertext: 1153, Secret: 32},

		algs.X25519:   {Public: 32, Private: 32, Secret: 32},
		algs.ECDHP256: {Public: 65, Private: 32, Secret: 32},
		algs.ECDHP384: {Public: 97, Private: 48, Secret: 48},

		algs.HPKEX25519AES256GCM:        {Public: 32, Private: 32, Overhead: 48, MaxPlaintext: m},
		algs.HPKEX25519ChaCha20Poly1305: {Public: 32, Private: 32, Overhead: 48, MaxPlaintext: m},
		algs.HPKEP256AES128GCM:          {Public: 65, Private: 32, Overhead: 81, MaxPlaintext: m},
		algs.HPKEP256AES256GCM:          {Public: 65, Private: 32, Overhead: 81, MaxPlaintext: m},
		algs.HPKEP384AES256GCM:          {Public: 97, Private: 48, Overhead: 113, MaxPlaintext: m},
		algs.HPKEMLKEM768P256:           {Public: 1249, Private: 32, Overhead: 1169, MaxPlaintext: m},
		algs.HPKEMLKEM768X25519:         {Public: 1216, Private: 32, Overhead: 1136, MaxPlaintext: m},

		algs.ECIESX25519: {Public: 32, Private: 32, Overhead: 60, MaxPlaintext: m},
		algs.ECIESP256:   {Public: 65, Private: 32, Overhead: 93, MaxPlaintext: m},
		algs.ECIESP384:   {Public: 97, Private: 48, Overhead: 125, MaxPlaintext: m},

		algs.RSAOAEP2048: {Ciphertext: 256, MaxPlaintext: 190},
		algs.RSAOAEP3072: {Ciphertext: 384, MaxPlaintext: 318},
		algs.RSAOAEP4096: {Ciphertext: 512, MaxPlaintext: 446},
	}
	for _, name := range all {
		got, err := Sizes(name)
		if err != nil || got != want[name] {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want[name])
		}
	}
}

func TestGeneratedKeys(t *testing.T) {
	for _, name := range all {
		t.Run(string(name), func(t *testing.T) {
			p, s := keyPair(t, name), schemes[name].size()
			if s.Public != 0 && (len(p.public) != s.Public || len(p.private) != s.Private) {
				t.Errorf("keys of %d and %d bytes", len(p.public), len(p.private))
			}
			if err := CheckPublic(name, p.public); err != nil {
				t.Error(err)
			}
			key := mustPrivate(t, name, p.private)
			if !bytes.Equal(key.Public(), p.public) || key.Algorithm() != name {
				t.Error("the private key gives another public key or name")
			}
			if row, _ := algs.Lookup(name); !row.ReadOnly {
				public := mustPublic(t, name, p.public)
				if !bytes.Equal(public.Bytes(), p.public) || public.Algorithm() != name {
					t.Error("the public key gives other bytes or another name")
				}
				if name == algs.RSAOAEP3072 || name == algs.RSAOAEP4096 {
					return // a second one takes seconds and is made as for 2048
				}
				again, private, err := Generate(name)
				if err != nil || bytes.Equal(again, p.public) || bytes.Equal(private, p.private) {
					t.Errorf("a second key pair is the same, or %v", err)
				}
			}
		})
	}
}

func TestEncapsulationRoundTrip(t *testing.T) {
	for _, name := range encapsulating {
		if name == algs.ChaCha20Poly1305MLKEM768 {
			continue // TestReadOnly
		}
		t.Run(string(name), func(t *testing.T) {
			p, s := keyPair(t, name), schemes[name].size()
			key := mustPrivate(t, name, p.private)
			seen := map[string]bool{}
			for range 20 {
				ciphertext, secret, err := Encapsulate(name, p.public)
				if err != nil || len(ciphertext) != s.Ciphertext || len(secret) != s.Secret {
					t.Fatalf("%d and %d bytes, %v", len(ciphertext), len(secret), err)
				}
				got, err := key.Decapsulate(ciphertext)
				if err != nil || !bytes.Equal(got, secret) {
					t.Fatalf("another secret, or %v", err)
				}
				if seen[string(secret)] || zero(secret) {
					t.Fatal("a secret came twice or is zero")
				}
				seen[string(secret)] = true
			}
		})
	}
}

// TestImplicitRejection flips bits of the ML-KEM part: each gives a secret of its own, the same every time, and no error.
func TestImplicitRejection(t *testing.T) {
	for _, name := range encapsulating {
		t.Run(string(name), func(t *testing.T) {
			p, writer := keyPair(t, name), name
			if name == algs.ChaCha20Poly1305MLKEM768 {
				writer = algs.AES256GCMMLKEM768
			}
			ciphertext, secret, err := Encapsulate(writer, p.public)
			if err != nil {
				t.Fatal(err)
			}
			key := mustPrivate(t, name, p.private)
			for _, at := range []int{0, 1, 500, 700} {
				bad := bytes.Clone(ciphertext)
				bad[at] ^= 1
				got, err := key.Decapsulate(bad)
				if err != nil || len(got) != 32 || bytes.Equal(got, secret) {
					t.Errorf("byte %d flipped: %d bytes, %v, or the right secret", at, len(got), err)
				}
				if again, err := key.Decapsulate(bad); err != nil || !bytes.Equal(again, got) {
					t.Errorf("byte %d flipped: another secret the second time, or %v", at, err)
				}
			}
			other := mustPrivate(t, name, otherPair(t, writer).private)
			if got, err := other.Decapsulate(ciphertext); err != nil || bytes.Equal(got, secret) {
				t.Errorf("another key gives the secret, or %v", err)
			}
			for _, n := range []int{0, 1, len(ciphertext) - 1} {
				_, err := key.Decapsulate(ciphertext[:n])
				wantKind(t, fmt.Sprint(n, " bytes"), err, fault.Malformed)
			}
			_, err = key.Decapsulate(append(bytes.Clone(ciphertext), 0))
			wantKind(t, "a byte more", err, fault.Malformed)
		})
	}
	// The classical half of P256MLKEM768 can fail in the open: its point is no secret.
	name := algs.P256MLKEM768AES256GCM
	p := keyPair(t, name)
	ciphertext, _, err := Encapsulate(name, p.public)
	if err != nil {
		t.Fatal(err)
	}
	ciphertext[len(ciphertext)-1] ^= 1
	_, err = mustPrivate(t, name, p.private).Decapsulate(ciphertext)
	wantKind(t, "a point off the curve", err, fault.DecryptFailed)
}

func otherPair(t *testing.T, name algs.Name) pair {
	t.Helper()
	public, private, err := Generate(name)
	if err != nil {
		t.Fatal(err)
	}
	return pair{public, private}
}

func TestAgreement(t *testing.T) {
	for _, name := range agreeing {
		t.Run(string(name), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				a, b := otherPair(t, name), otherPair(t, name)
				x, err := mustPrivate(t, name, a.private).Agree(b.public)
				if err != nil || len(x) != schemes[name].size().Secret || zero(x) {
					rt.Fatalf("%d bytes, %v", len(x), err)
				}
				if y, err := mustPrivate(t, name, b.private).Agree(a.public); err != nil || !bytes.Equal(x, y) {
					rt.Fatalf("both sides have different secrets, or %v", err)
				}
				// A damaged public key is refused (NIST curves, nearly always X25519 gives another secret).
				bad := bytes.Clone(b.public)
				bad[rapid.IntRange(0, len(bad)-2).Draw(rt, "byte")] ^= 1
				if z, err := mustPrivate(t, name, a.private).Agree(bad); err == nil && (name != algs.X25519 || bytes.Equal(x, z)) {
					rt.Fatal("a damaged key was taken")
				}
			})
		})
	}
}

// lowOrder are the points of RFC 7748 section 6.1 and of curve25519's twist that give zero with every private key.
var lowOrder = [][]byte{
	make([]byte, 32),
	append([]byte{1}, make([]byte, 31)...),
	unhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
	unhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
	unhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
	unhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
	unhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
}

func TestLowOrderPointsAreRefused(t *testing.T) {
	key := mustPrivate(t, algs.X25519, keyPair(t, algs.X25519).private)
	for i, point := range lowOrder {
		_, err := key.Agree(point)
		wantKind(t, fmt.Sprint("agree ", i), err, fault.Malformed)
		for _, name := range []algs.Name{algs.ECIESX25519, algs.HPKEX25519AES256GCM} {
			_, err = Encrypt(name, point, []byte("hello"), nil, nil)
			wantKind(t, fmt.Sprint(name, " encrypt ", i), err, fault.Malformed)
			_, err = mustPrivate(t, name, keyPair(t, name).private).Decrypt(append(bytes.Clone(point), make([]byte, 40)...), nil, nil)
			wantKind(t, fmt.Sprint(name, " decrypt ", i), err, fault.DecryptFailed)
		}
		// In a hybrid: HPKE refuses, X-Wing does not.
		const name = algs.HPKEMLKEM768X25519
		hybrid := append(bytes.Clone(keyPair(t, name).public[:1184]), point...)
		_, err = Encrypt(name, hybrid, []byte("hello"), nil, nil)
		wantKind(t, fmt.Sprint(name, " encrypt ", i), err, fault.Malformed)
		if _, _, err = Encapsulate(algs.XWing, hybrid); err != nil {
			t.Error(err)
		}
	}
}

func TestMalformedPublicKeys(t *testing.T) {
	mlkem := map[algs.Name]bool{}
	for _, name := range encapsulating {
		mlkem[name] = true
	}
	mlkem[algs.HPKEMLKEM768P256], mlkem[algs.HPKEMLKEM768X25519] = true, true
	for _, name := range all {
		t.Run(string(name), func(t *testing.T) {
			good := keyPair(t, name).public
			bad := map[string][]byte{
				"empty": nil, "one byte": good[:1], "cut": good[:len(good)-1], "extended": append(bytes.Clone(good), 0),
				"huge": make([]byte, 1<<20),
			}
			s := schemes[name].size()
			if mlkem[name] {
				over := bytes.Clone(good)
				over[0], over[1] = 0xff, over[1]|0x0f // a coefficient of 4095
				bad["coefficient above the modulus"] = over
			}
			switch s.Public {
			case 65, 97, 1249: // a NIST point at the end
				point := s.Public
				if point == 1249 {
					point = 65
				}
				start := s.Public - point
				off, prefix, infinity, compressed := bytes.Clone(good), bytes.Clone(good), bytes.Clone(good), bytes.Clone(good[:start+1+(point-1)/2])
				off[len(off)-1] ^= 1
				prefix[start] = 6
				clear(infinity[start:])
				compressed[start] = 2
				bad["off the curve"], bad["hybrid prefix"], bad["infinity"], bad["compressed"] = off, prefix, infinity, compressed
			}
			for what, public := range bad {
				wantKind(t, what, CheckPublic(name, public), fault.Malformed)
				if row, _ := algs.Lookup(name); row.ReadOnly {
					continue
				}
				_, err := ParsePublic(name, public)
				wantKind(t, what, err, fault.Malformed)
				_, _, err = Encapsulate(name, public)
				wantKind(t, what, err, fault.Malformed)
				_, err = Encrypt(name, public, nil, nil, nil)
				wantKind(t, what, err, fault.Malformed)
			}
			if k := mustPrivate(t, name, keyPair(t, name).private); s.Secret != 0 && s.Ciphertext == 0 {
				for what, public := range bad {
					_, err := k.Agree(public)
					wantKind(t, "agree "+what, err, fault.Malformed)
				}
			}
		})
	}
}

func TestMalformedPrivateKeys(t *testing.T) {
	for _, name := range all {
		t.Run(string(name), func(t *testing.T) {
			good := keyPair(t, name).private
			for what, private := range map[string][]byte{
				"empty": nil, "cut": good[:len(good)-1], "extended": append(bytes.Clone(good), 0), "huge": make([]byte, 1<<20),
			} {
				_, err := ParsePrivate(name, private)
				wantKind(t, what, err, fault.Malformed)
			}
			if s := schemes[name].size(); s.Public == 65 || s.Public == 97 { // a scalar from 1 to the order less 1
				for what, b := range map[string]byte{"zero": 0, "above the order": 0xff} {
					_, err := ParsePrivate(name, bytes.Repeat([]byte{b}, len(good)))
					wantKind(t, what, err, fault.Malformed)
				}
			}
		})
	}
}

// TestWrongLengthIsNamed looks at what a caller is told: the field and the length that it should have.
func TestWrongLengthIsNamed(t *testing.T) {
	for _, name := range all {
		s, p := schemes[name].size(), keyPair(t, name)
		key := mustPrivate(t, name, p.private)
		check := func(field string, n int, err error) {
			t.Helper()
			var e *fault.Error
			want := fault.Field{Name: field, Detail: fmt.Sprintf("must be %d bytes long", n)}
			if !errors.As(err, &e) || len(e.Fields) != 1 || e.Fields[0] != want || e.Detail != "the "+field+" "+want.Detail {
				t.Errorf("%s: %v", name, err)
			}
		}
		if s.Public != 0 {
			check("public_key", s.Public, CheckPublic(name, make([]byte, s.Public-1)))
			_, err := ParsePrivate(name, make([]byte, s.Private+1))
			check("private_key", s.Private, err)
		}
		switch {
		case s.Ciphertext != 0 && s.Secret != 0:
			_, err := key.Decapsulate(make([]byte, s.Ciphertext+1))
			check("ciphertext", s.Ciphertext, err)
		case s.Secret != 0:
			_, err := key.Agree(make([]byte, s.Public+1))
			check("peer_public_key", s.Public, err)
		}
	}
}

func TestReadOnly(t *testing.T) {
	const name = algs.ChaCha20Poly1305MLKEM768
	p := keyPair(t, name)
	_, _, err := Generate(name)
	wantKind(t, "generate", err, fault.AlgorithmDisallowed)
	_, err = ParsePublic(name, p.public)
	wantKind(t, "parse public", err, fault.AlgorithmDisallowed)
	_, _, err = Encapsulate(name, p.public)
	wantKind(t, "encapsulate", err, fault.AlgorithmDisallowed)
	_, _, err = ImportPKCS8(name, nil)
	wantKind(t, "import", err, fault.AlgorithmDisallowed)
	ciphertext, secret, err := Encapsulate(algs.MLKEM768, p.public)
	if err != nil {
		t.Fatal(err)
	}
	got, err := mustPrivate(t, name, p.private).Decapsulate(ciphertext)
	if err != nil || !bytes.Equal(got, secret) {
		t.Errorf("decapsulates to another secret, or %v", err)
	}
}

func TestWhatAnAlgorithmDoesNotDo(t *testing.T) {
	for _, name := range all {
		t.Run(string(name), func(t *testing.T) {
			row, _ := algs.Lookup(name)
			p := keyPair(t, name)
			key := mustPrivate(t, name, p.private)
			if row.Class != algs.ClassPublicEncryption {
				_, err := key.Decrypt(make([]byte, 2000), nil, nil)
				wantKind(t, "decrypt", err, fault.Malformed)
				_, err = ECIESEphemeral(name, make([]byte, 2000))
				wantKind(t, "ephemeral", err, fault.Malformed)
				if !row.ReadOnly {
					_, err = Encrypt(name, p.public, nil, nil, nil)
					wantKind(t, "encrypt", err, fault.Malformed)
				}
			}
			if row.Class != algs.ClassAgreement {
				_, err := key.Agree(p.public)
				wantKind(t, "agree", err, fault.Malformed)
			}
			if row.Class != algs.ClassKEM && row.Class != algs.ClassHybrid {
				_, err := key.Decapsulate(make([]byte, 1088))
				wantKind(t, "decapsulate", err, fault.Malformed)
				_, _, err = Encapsulate(name, p.public)
				wantKind(t, "encapsulate", err, fault.Malformed)
				_, err = ParseExpanded(name, make([]byte, 2400))
				wantKind(t, "expanded", err, fault.Malformed)
			}
		})
	}
	for _, name := range []algs.Name{"", "ml-kem-768", algs.AES256GCM, algs.Ed25519} {
		_, _, err := Generate(name)
		wantKind(t, string(name), err, fault.Malformed)
		_, err = Sizes(name)
		wantKind(t, string(name), err, fault.Malformed)
		_, err = ParsePrivate(name, make([]byte, 32))
		wantKind(t, string(name), err, fault.Malformed)
		wantKind(t, string(name), CheckPublic(name, make([]byte, 32)), fault.Malformed)
		_, err = ECIESOpen(name, nil, nil, nil, nil, nil)
		wantKind(t, string(name), err, fault.Malformed)
		_, _, err = ImportPKCS8(name, nil)
		wantKind(t, string(name), err, fault.Malformed)
	}
}

// TestKeysAreShared uses one key from many goroutines while another destroys it: each gets the right answer or is refused.
func TestKeysAreShared(t *testing.T) {
	for _, name := range all {
		if name == algs.ChaCha20Poly1305MLKEM768 {
			continue // its scheme is that of AES-256-GCM+ML-KEM-768
		}
		t.Run(string(name), func(t *testing.T) {
			p := keyPair(t, name)
			key := mustPrivate(t, name, p.private)
			row, _ := algs.Lookup(name)
			step := func() error {
				public, err := ParsePublic(name, p.public)
				if err != nil {
					return err
				}
				var want, got []byte
				var ciphertext []byte
				switch row.Class {
				case algs.ClassPublicEncryption:
					want = []byte("hello")
					if ciphertext, err = public.Encrypt(want, nil, nil); err == nil {
						got, err = key.Decrypt(ciphertext, nil, nil)
					}
				case algs.ClassAgreement:
					if want, err = key.Agree(p.public); err == nil {
						got, err = key.Agree(p.public)
					}
				default:
					if ciphertext, want, err = public.Encapsulate(); err == nil {
						got, err = key.Decapsulate(ciphertext)
					}
				}
				if err == nil && !bytes.Equal(got, want) {
					return errors.New("another result")
				}
				return err
			}
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					for range 3 {
						if err := step(); err != nil && !errors.Is(err, fault.KeyState) {
							t.Error(err)
						}
					}
					if i == 3 {
						key.Destroy()
					}
				})
			}
			wg.Wait()
			if row.Class == algs.ClassPublicEncryption || row.Class == algs.ClassAgreement {
				wantKind(t, "after Destroy", step(), fault.KeyState)
			}
			if _, err := key.Decapsulate(nil); fault.Of(err) != fault.KeyState {
				t.Errorf("after Destroy: %v", err)
			}
			if !bytes.Equal(key.Public(), p.public) {
				t.Error("the public key is gone")
			}
		})
	}
}

// TestInvariant07PrivateKeysAreNotPrinted prints each key with each verb: only the algorithm shows.
func TestInvariant07PrivateKeysAreNotPrinted(t *testing.T) {
	for _, name := range all {
		key := mustPrivate(t, name, keyPair(t, name).private)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			if got, want := fmt.Sprintf(verb, key), "private key of "+string(name); got != want {
				t.Errorf("%s of a key of %s shows %d bytes", verb, name, len(got))
			}
		}
	}
}

// TestResultsAreTheCallersOwn changes what a key returned and looks whether the key changed with it.
func TestResultsAreTheCallersOwn(t *testing.T) {
	for _, name := range encrypting {
		p := keyPair(t, name)
		input := bytes.Clone(p.private)
		key := mustPrivate(t, name, input)
		clear(input)
		clear(key.Public())
		ciphertext, err := Encrypt(name, p.public, []byte("hello"), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := key.Decrypt(ciphertext, nil, nil)
		if err != nil || string(got) != "hello" || !bytes.Equal(key.Public(), p.public) {
			t.Errorf("%s: the key changed with bytes that it was made of or gave away: %v", name, err)
		}
	}
}
