package envelope

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pion/dtls/v3/pkg/crypto/ccm"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/xts"

	"cryptoserve/engine/aead"
	"cryptoserve/engine/algs"
)

var update = flag.Bool("update", false, "write the golden files anew")

// example is one frame with everything that it is made of.
type example struct {
	Name         string    `json:"name"`
	Format       int       `json:"format"`
	Algorithm    algs.Name `json:"algorithm"`
	Mode         string    `json:"mode,omitempty"`
	Kind         string    `json:"kind"` // ours, stream, imported, imported hybrid
	Key          string    `json:"key_hex"`
	Salt         string    `json:"salt_hex,omitempty"`
	Nonce        string    `json:"nonce_hex,omitempty"`
	Encapsulated string    `json:"encapsulated_hex,omitempty"`
	AAD          string    `json:"aad_hex,omitempty"`
	Plaintext    string    `json:"plaintext_hex"`
	MessageKey   string    `json:"message_key_hex"`
	Header       string    `json:"header"`
	Frame        string    `json:"frame_hex"`
}

const (
	exampleContext = "user-pii"
	exampleKeyID   = "key_user-pii_0011223344556677"
)

func counting(from byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = from + byte(i)
	}
	return b
}

// examples lists what testdata/worked.json holds, without the results.
func examples() []example {
	var list []example
	add := func(e example, key, nonce int) {
		e.Key, e.Nonce = hex.EncodeToString(counting(0x40, key)), hex.EncodeToString(counting(0xa0, nonce))
		if e.Plaintext == "" {
			e.Plaintext = hex.EncodeToString([]byte("a plaintext of 24 bytes."))
		}
		e.Name = fmt.Sprintf("%s, format %d, %s", e.Kind, e.Format, e.Algorithm)
		if e.Mode != "" {
			e.Name += ", mode " + e.Mode
		}
		if e.AAD != "" {
			e.Name += ", with associated data"
		}
		list = append(list, e)
	}
	aad := hex.EncodeToString([]byte("record:42"))
	salt := hex.EncodeToString(counting(0x80, SaltBytes))
	for _, row := range algs.Rows() {
		nonce := NonceBytes
		if row.Name == algs.AES256CBC {
			nonce = 16
		}
		if DEKBytes(4, row.Name) != 0 {
			e := example{Format: 4, Algorithm: row.Name, Kind: "ours", Salt: salt, AAD: aad}
			if row.Class == algs.ClassHybrid {
				e.Encapsulated = hex.EncodeToString(counting(0, 48))
			}
			add(e, KeyBytes, nonce)
		}
		if s := written3(row.Name); s != nil {
			e := example{Format: 3, Algorithm: row.Name, Mode: s.mode, Kind: "ours"}
			add(e, s.dek, nonce)
			if s.construction.Authenticates() {
				e.AAD = aad
				add(e, s.dek, nonce)
			}
		}
	}
	add(example{Format: 4, Algorithm: algs.AES256GCM, Kind: "ours", Salt: salt}, KeyBytes, NonceBytes)
	add(example{Format: 4, Algorithm: algs.AES256GCM, Kind: "stream", Salt: salt}, KeyBytes, 0)
	add(example{Format: 1, Algorithm: algs.AES256GCM, Kind: "imported", AAD: aad}, 32, 12)
	add(example{Format: 1, Algorithm: algs.AES256GCMSIV, Kind: "imported"}, 32, 12)
	add(example{Format: 1, Algorithm: algs.ChaCha20Poly1305, Kind: "imported"}, 32, 12)
	add(example{Format: 2, Algorithm: algs.AES192GCM, Mode: "gcm", Kind: "imported"}, 24, 12)
	add(example{Format: 2, Algorithm: algs.AES256CBC, Mode: "cbc", Kind: "imported"}, 32, 16)
	add(example{Format: 3, Algorithm: algs.AES256GCMSIV, Mode: "gcm-siv", Kind: "imported", AAD: aad}, 32, 12)
	add(example{Format: 3, Algorithm: algs.ChaCha20Poly1305, Mode: "ctr", Kind: "imported", AAD: aad}, 32, 16)
	add(example{Format: 3, Algorithm: algs.AES128GCM, Mode: "cbc", Kind: "imported"}, 16, 16)
	add(example{Format: 3, Algorithm: algs.AES128GCM, Mode: "ccm", Kind: "imported"}, 16, 12)
	add(example{Format: 3, Algorithm: algs.AES128GCM, Mode: "gcm-siv", Kind: "imported"}, 16, 12)
	add(example{Format: 3, Algorithm: algs.AES256XTS, Mode: "xts", Kind: "imported", Plaintext: hex.EncodeToString(pattern(64))}, 64, 12)
	for _, row := range algs.Rows() {
		if k, ok := originalKEM[row.Name]; ok {
			add(example{
				Format: 1, Algorithm: row.Name, Mode: string(row.Name), Kind: "imported hybrid", AAD: aad,
				Encapsulated: hex.EncodeToString(counting(0, k.bytes)),
			}, 32, 12)
		}
	}
	return list
}

// work computes the rest of an example from the package comment alone, with none of the package's own functions.
func (e *example) work(t *testing.T) {
	t.Helper()
	key, salt, nonce := unhex(t, e.Key), unhex(t, e.Salt), unhex(t, e.Nonce)
	encapsulated, aad, plaintext := unhex(t, e.Encapsulated), unhex(t, e.AAD), unhex(t, e.Plaintext)
	type header struct {
		V            int    `json:"v"`
		Mode1        string `json:"mode,omitempty"` // the hybrid of format 1 alone
		Context      string `json:"ctx,omitempty"`
		KeyID        string `json:"kid"`
		Algorithm    string `json:"alg,omitempty"`
		Encapsulated int    `json:"kem_ct_len,omitempty"`
		Salt         []byte `json:"salt,omitempty"`
	}
	h := header{V: e.Format, Context: exampleContext, KeyID: exampleKeyID, Algorithm: string(e.Algorithm)}
	var rest any
	var body []byte
	switch {
	case e.Format == 4:
		info := bytes.Join([][]byte{part("cryptoserve/4"), part(string(e.Algorithm)), part(string(salt))}, nil)
		if len(encapsulated) > 0 {
			info = append(info, part(string(encapsulated))...)
		}
		n, ok := map[algs.Name]int{algs.AES256CBC: 64, algs.AES256CTR: 64, algs.AES128GCM: 16, algs.AES192GCM: 24}[e.Algorithm]
		if !ok {
			n = 32
		}
		okm := expand(key, info, n+32)
		h.Encapsulated, h.Salt = len(encapsulated), salt
		rest = struct {
			KC  []byte `json:"kc"`
			Seg int    `json:"seg,omitempty"`
		}{okm[n:], map[string]int{"stream": 65536}[e.Kind]}
		e.MessageKey = hex.EncodeToString(okm[:n])
		e.join(t, h, rest)
		if e.Kind != "stream" {
			prefix := unhex(t, e.Frame)
			body = slice(encapsulated, protect(t, e.Algorithm, okm[:n], nonce, plaintext, slice(prefix, aad), true))
		}
	case e.Kind == "imported hybrid":
		h = header{V: 1, Mode1: e.Mode, KeyID: exampleKeyID}
		rest = struct {
			Nonce        []byte `json:"nonce"`
			Encapsulated int    `json:"kem_ct_len"`
		}{nonce, len(encapsulated)}
		message := expand(mac(make([]byte, 32), key), []byte("cryptoserve-hybrid-v1"+exampleKeyID), 32)
		e.MessageKey = hex.EncodeToString(message)
		e.join(t, h, rest)
		name := algs.AES256GCM
		if strings.HasPrefix(e.Mode, "ChaCha") {
			name = algs.ChaCha20Poly1305
		}
		body = slice(encapsulated, protect(t, name, message, nonce, plaintext, aad, false)[12:])
	default:
		kc := mac(key, []byte("key-commitment-v1"))
		type beforeKC struct {
			Mode  string `json:"mode,omitempty"`
			Nonce []byte `json:"nonce"`
		}
		before := beforeKC{e.Mode, nonce}
		switch {
		case e.Format < 3:
			rest = before
		case e.Kind == "ours":
			rest = struct {
				beforeKC
				KC  []byte `json:"kc"`
				AAD bool   `json:"aad"`
			}{before, kc, len(aad) > 0}
		default:
			rest = struct {
				beforeKC
				KC  []byte `json:"kc"`
				AAD bool   `json:"aad,omitempty"`
			}{before, kc, len(aad) > 0}
		}
		name := e.Algorithm
		switch {
		case e.Mode == "gcm-siv", e.Algorithm == algs.AES256GCMSIV:
			name = algs.AES256GCM
		case e.Mode == "cbc":
			name = algs.AES256CBC
		case e.Mode == "ccm":
			name = algs.AES256CCM
		}
		message, used := key, nonce
		switch {
		case name == algs.ChaCha20Poly1305:
			used = nonce[:12]
		case e.Mode == "xts":
			message = slice(key, expand(mac([]byte("crypto-serve-v1"), key[:32]), []byte("authentication"), 32))
		case e.Mode == "cbc" || e.Mode == "ctr":
			prk := mac([]byte("crypto-serve-v1"), key)
			message = slice(expand(prk, []byte("encryption"), len(key)), expand(prk, []byte("authentication"), 32))
		}
		e.MessageKey = hex.EncodeToString(message)
		e.join(t, h, rest)
		body = protect(t, name, message, used, plaintext, aad, false)[len(used):]
	}
	e.Frame += hex.EncodeToString(body)
}

// join sets the header, made of two structs one after the other, and the frame so far.
func (e *example) join(t *testing.T, parts ...any) {
	t.Helper()
	var all []string
	for _, p := range parts {
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Trim(string(b), "{}"))
	}
	e.Header = "{" + strings.Join(all, ",") + "}"
	e.Frame = hex.EncodeToString(slice(binary.BigEndian.AppendUint16(nil, uint16(len(e.Header))), []byte(e.Header)))
}

func slice(a, b []byte) []byte { return append(bytes.Clone(a), b...) }

func part(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }

func mac(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return h.Sum(nil)
}

// expand is HKDF-Expand-SHA256: RFC 5869 section 2.3.
func expand(prk, info []byte, n int) []byte {
	var okm, last []byte
	for i := byte(1); len(okm) < n; i++ {
		last = mac(prk, append(slice(last, info), i))
		okm = append(okm, last...)
	}
	return okm[:n]
}

// protect returns nonce || ciphertext || tag. bound tells whether CBC and CTR authenticate associated data.
func protect(t *testing.T, name algs.Name, key, nonce, plaintext, aad []byte, bound bool) []byte {
	t.Helper()
	cipherKey := key
	if name == algs.AES256CBC || name == algs.AES256CTR || name == algs.AES256XTS {
		cipherKey = key[:len(key)-32]
	}
	var block cipher.Block
	var a cipher.AEAD
	var err error
	if name != algs.AES256XTS {
		if block, err = aes.NewCipher(cipherKey); err != nil {
			t.Fatal(err)
		}
	}
	switch name {
	case algs.AES256GCMSIV:
		siv, err := subtle.NewAESGCMSIV(key)
		if err != nil {
			t.Fatal(err)
		}
		saved := rand.Reader
		rand.Reader = bytes.NewReader(nonce)
		defer func() { rand.Reader = saved }()
		sealed, err := siv.Encrypt(plaintext, aad)
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	case algs.AES256CBC:
		pad := 16 - len(plaintext)%16
		out := slice(plaintext, bytes.Repeat([]byte{byte(pad)}, pad))
		cipher.NewCBCEncrypter(block, nonce).CryptBlocks(out, out)
		return tagged(key[len(key)-32:], nonce, nonce, out, aad, bound)
	case algs.AES256CTR:
		out := bytes.Clone(plaintext)
		cipher.NewCTR(block, slice(nonce, make([]byte, 4))).XORKeyStream(out, out)
		return tagged(key[len(key)-32:], nonce, nonce, out, aad, bound)
	case algs.AES256XTS:
		// The library takes 8 bytes of tweak: the second cipher, given both tweaks, tells the difference.
		tweak, made := slice(nonce, make([]byte, 4)), 0
		c, err := xts.NewCipher(func(k []byte) (cipher.Block, error) {
			b, err := aes.NewCipher(k)
			if made++; made == 2 {
				return fixed{b, tweak}, err
			}
			return b, err
		}, cipherKey)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, len(plaintext))
		c.Encrypt(out, plaintext, 0)
		return tagged(key[64:], nonce, tweak, out, aad, false)
	case algs.AES256CCM:
		a, err = ccm.NewCCM(block, 16, 12)
	case algs.ChaCha20Poly1305:
		a, err = chacha20poly1305.New(key)
	default:
		a, err = cipher.NewGCM(block)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a.Seal(bytes.Clone(nonce), nonce, plaintext, aad)
}

type fixed struct {
	cipher.Block
	tweak []byte
}

func (f fixed) Encrypt(dst, _ []byte) { f.Block.Encrypt(dst, f.tweak) }

func tagged(key, nonce, authenticated, ciphertext, aad []byte, bound bool) []byte {
	message := slice(authenticated, ciphertext)
	if bound {
		message = slice(slice(binary.BigEndian.AppendUint64(nil, uint64(len(aad))), aad), message)
	}
	return slice(slice(nonce, ciphertext), mac(key, message))
}

// TestWorkedExamples recomputes testdata/worked.json in two ways, from the package comment and with the package's own writing
// functions under the given salt and nonce, and opens every frame.
func TestWorkedExamples(t *testing.T) {
	list := examples()
	for i := range list {
		list[i].work(t)
	}
	type file struct {
		Origin   string    `json:"origin"`
		Context  string    `json:"context"`
		KeyID    string    `json:"key_id"`
		Examples []example `json:"examples"`
	}
	const golden = "testdata/worked.json"
	if *update {
		b, err := json.MarshalIndent(file{
			Origin:  "Computed from the comment of package envelope; key_hex is the data key, for hybrids the KEM's secret, and message_key_hex what the body is protected under.",
			Context: exampleContext, KeyID: exampleKeyID, Examples: list,
		}, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, append(b, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	var want file
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	byName := map[string]example{}
	for _, e := range want.Examples {
		byName[e.Name] = e
	}
	if len(byName) != len(list) || len(want.Examples) != len(list) {
		t.Fatalf("%d examples, want %d", len(want.Examples), len(list))
	}
	for _, e := range list {
		t.Run(e.Name, func(t *testing.T) {
			if byName[e.Name] != e {
				t.Fatalf("the frame changed: run with -update only if no frame of the kind was ever written\n%+v", e)
			}
			e.open(t)
			if e.Kind == "ours" || e.Kind == "stream" {
				e.write(t)
			}
		})
	}
}

func (e *example) open(t *testing.T) {
	t.Helper()
	f, err := Parse(unhex(t, e.Frame))
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	want := unhex(t, e.Plaintext)
	switch e.Kind {
	case "stream":
		got, err = f.StreamKey(unhex(t, e.Key))
		want = unhex(t, e.MessageKey)
	case "ours":
		got, err = f.Open(nil, unhex(t, e.Key), unhex(t, e.AAD))
	default:
		got, err = f.OpenImported(nil, unhex(t, e.Key), unhex(t, e.AAD))
	}
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("does not open: %v", err)
	}
}

// write makes the frame with the package's own functions, but for the AEAD, which draws its own nonce.
func (e *example) write(t *testing.T) {
	t.Helper()
	p := Params{Format: e.Format, Context: exampleContext, KeyID: exampleKeyID, Algorithm: e.Algorithm, Encapsulated: unhex(t, e.Encapsulated)}
	key, plaintext, aad, nonce := unhex(t, e.Key), unhex(t, e.Plaintext), unhex(t, e.AAD), unhex(t, e.Nonce)
	var got []byte
	var err error
	switch {
	case e.Kind == "stream":
		var message []byte
		got, message, err = streamHeader(&p, key, (*[SaltBytes]byte)(unhex(t, e.Salt)))
		if !bytes.Equal(message, unhex(t, e.MessageKey)) {
			t.Error("another message key")
		}
	case e.Format == 4:
		seal := func(dst []byte, name algs.Name, key, plaintext, aad []byte) ([]byte, error) {
			return append(dst, protect(t, name, key, nonce, plaintext, aad, true)...), nil
		}
		got, err = seal4(nil, &p, layouts4[e.Algorithm], key, (*[SaltBytes]byte)(unhex(t, e.Salt)), plaintext, aad, seal)
	default:
		seal := func(c aead.Construction, key, plaintext, aad []byte) ([]byte, error) {
			if c != written3(e.Algorithm).construction {
				return nil, errors.New("another construction")
			}
			return protect(t, e.Algorithm, key, nonce, plaintext, aad, false), nil
		}
		got, err = seal3(nil, &p, written3(e.Algorithm), key, plaintext, aad, seal)
	}
	if err != nil || hex.EncodeToString(got) != e.Frame {
		t.Errorf("written otherwise: %v\n%x\n%s", err, got, e.Frame)
	}
}
