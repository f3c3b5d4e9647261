package keywrap

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	kwp "github.com/tink-crypto/tink-go/v2/kwp/subtle"
	"pgregory.net/rapid"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
)

var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, minBits)
	if err != nil {
		panic(err)
	}
	return key
})

// isBadKey tells whether an error is the one answer for what does not unwrap.
func isBadKey(err error) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Kind == fault.Malformed && f.Detail == "it is not a key that was wrapped for this import" &&
		len(f.Fields) == 1 && f.Fields[0].Name == "wrapped_key"
}

func TestRoundTrip(t *testing.T) {
	key := testKey()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Byte(), MinKey, 300).Draw(t, "key")
		hash := rapid.SampledFrom([]algs.Name{algs.SHA256, SHA1}).Draw(t, "hash")
		wrapped, err := Wrap(&key.PublicKey, hash, want)
		if err != nil {
			t.Fatal(err)
		}
		if extra := len(wrapped) - key.Size() - len(want); extra < 8 || extra > 15 {
			t.Fatalf("the wrapped key is %d bytes longer", extra)
		}
		got, err := Unwrap(key, hash, wrapped, len(want))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("another key came back: %v", err)
		}
		if _, err := Unwrap(key, hash, wrapped, len(want)-1); !isBadKey(err) {
			t.Fatalf("a key longer than the limit: %v", err)
		}
	})
}

func TestLongestAndShortest(t *testing.T) {
	key := testKey()
	for _, n := range []int{MinKey, MaxKey} {
		wrapped, err := Wrap(&key.PublicKey, algs.SHA256, make([]byte, n))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Unwrap(key, algs.SHA256, wrapped, MaxKey); err != nil || len(got) != n {
			t.Errorf("%d bytes of %d, %v", len(got), n, err)
		}
	}
	for _, n := range []int{0, 1, MinKey - 1, MaxKey + 1} {
		if _, err := Wrap(&key.PublicKey, algs.SHA256, make([]byte, n)); !errors.Is(err, fault.Malformed) {
			t.Errorf("a key of %d bytes: %v", n, err)
		}
	}
}

// TestNothingRepeats: the transport key is fresh each time, so neither part is the same twice.
func TestNothingRepeats(t *testing.T) {
	key := testKey()
	seen := map[string]bool{}
	for range 20 {
		wrapped, err := Wrap(&key.PublicKey, algs.SHA256, make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range [][]byte{wrapped[:key.Size()], wrapped[key.Size():]} {
			if seen[string(part)] {
				t.Fatal("a part came twice")
			}
			seen[string(part)] = true
		}
	}
}

func TestEveryByteIsProtected(t *testing.T) {
	key := testKey()
	wrapped, err := Wrap(&key.PublicKey, algs.SHA256, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for i := range wrapped {
		bad := bytes.Clone(wrapped)
		bad[i] ^= 1
		if _, err := Unwrap(key, algs.SHA256, bad, MaxKey); !isBadKey(err) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
}

func TestUnwrapRefuses(t *testing.T) {
	key := testKey()
	other, err := rsa.GenerateKey(rand.Reader, minBits)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := Wrap(&key.PublicKey, algs.SHA256, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, make([]byte, 16), nil)
	if err != nil {
		t.Fatal(err)
	}
	short, err := kwp.NewKWP(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	body, err := short.Wrap(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key     *rsa.PrivateKey
		hash    algs.Name
		wrapped []byte
	}{
		"nothing":                  {key, algs.SHA256, nil},
		"no body":                  {key, algs.SHA256, wrapped[:key.Size()]},
		"half a block":             {key, algs.SHA256, wrapped[:key.Size()/2]},
		"a body of one block":      {key, algs.SHA256, wrapped[:key.Size()+8]},
		"cut by one byte":          {key, algs.SHA256, wrapped[:len(wrapped)-1]},
		"cut by eight bytes":       {key, algs.SHA256, wrapped[:len(wrapped)-8]},
		"longer by eight bytes":    {key, algs.SHA256, append(bytes.Clone(wrapped), make([]byte, 8)...)},
		"longer than any":          {key, algs.SHA256, make([]byte, 1<<20)},
		"another pair":             {other, algs.SHA256, wrapped},
		"the other hash":           {key, SHA1, wrapped},
		"a transport key of 16":    {key, algs.SHA256, append(transport, body...)},
		"the block of another key": {key, algs.SHA256, append(bytes.Clone(transport), wrapped[key.Size():]...)},
	} {
		if _, err := Unwrap(c.key, c.hash, c.wrapped, MaxKey); !isBadKey(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefusedSettings(t *testing.T) {
	key := testKey()
	for _, hash := range []algs.Name{"", algs.SHA512, "sha-256", "MD5"} {
		if _, err := Wrap(&key.PublicKey, hash, make([]byte, 32)); !errors.Is(err, fault.AlgorithmDisallowed) {
			t.Errorf("wrapped with %q: %v", hash, err)
		}
		if _, err := Unwrap(key, hash, make([]byte, 300), MaxKey); !errors.Is(err, fault.AlgorithmDisallowed) {
			t.Errorf("unwrapped with %q: %v", hash, err)
		}
	}
	small := &rsa.PublicKey{N: new(big.Int).Rsh(key.N, 1), E: key.E}
	if _, err := Wrap(small, algs.SHA256, make([]byte, 32)); !errors.Is(err, fault.Malformed) {
		t.Errorf("wrapped for %d bits: %v", small.N.BitLen(), err)
	}
}

// TestFIPSMode runs this test's program again in Go's FIPS modes: SHA-1 works where FIPS mode is on and not where it is enforced.
func TestFIPSMode(t *testing.T) {
	if os.Getenv("KEYWRAP_CHILD") != "" {
		key := testKey()
		result := map[algs.Name]bool{}
		for _, hash := range []algs.Name{algs.SHA256, SHA1} {
			wrapped, err := Wrap(&key.PublicKey, hash, make([]byte, 32))
			if err == nil {
				_, err = Unwrap(key, hash, wrapped, MaxKey)
			}
			result[hash] = err == nil
		}
		text, err := json.Marshal(result)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("RESULT %s\n", text)
		return
	}
	for mode, want := range map[string]string{
		"on": `RESULT {"SHA-1":true,"SHA-256":true}`, "only": `RESULT {"SHA-1":false,"SHA-256":true}`,
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFIPSMode$")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140="+mode, "KEYWRAP_CHILD=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("fips140=%s: %v\n%s", mode, err, out)
		}
	}
}
