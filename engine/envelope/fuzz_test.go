package envelope

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
)

// rewrite writes the header that a frame's fields say, in both forms that an absence of associated data has.
func rewrite(f *Frame) []string {
	b64 := base64.StdEncoding.EncodeToString
	names := fmt.Sprintf(`"ctx":"%s","kid":"%s","alg":"%s"`, f.Context, f.KeyID, f.Algorithm)
	nonce := `"nonce":"` + b64(f.nonce()) + `"`
	switch {
	case f.OriginalHybrid:
		return []string{fmt.Sprintf(`{"v":1,"mode":"%s","kid":"%s",%s,"kem_ct_len":%d}`, f.Mode, f.KeyID, nonce, f.encapsulated)}
	case f.Format == 1:
		return []string{fmt.Sprintf(`{"v":1,%s,%s}`, names, nonce)}
	case f.Format == 2:
		return []string{fmt.Sprintf(`{"v":2,%s,"mode":"%s",%s}`, names, f.Mode, nonce)}
	case f.Format == 3:
		begin := fmt.Sprintf(`{"v":3,%s,"mode":"%s",%s,"kc":"%s"`, names, f.Mode, nonce, b64(f.Commitment[:]))
		if f.HasAAD {
			return []string{begin + `,"aad":true}`}
		}
		return []string{begin + `,"aad":false}`, begin + `}`}
	}
	length, seg := "", ""
	if f.encapsulated > 0 {
		length = fmt.Sprintf(`,"kem_ct_len":%d`, f.encapsulated)
	}
	if f.Stream {
		seg = `,"seg":65536`
	}
	return []string{fmt.Sprintf(`{"v":4,%s%s,"salt":"%s","kc":"%s"%s}`, names, length, b64(f.Salt[:]), b64(f.Commitment[:]), seg)}
}

func FuzzParse(f *testing.F) {
	seeds := 0
	add := func(b []byte) {
		f.Add(b)
		seeds++
	}
	for _, w := range written() {
		for _, aad := range [][]byte{nil, []byte("a")} {
			if frame, err := Seal(nil, w.p, w.dek, []byte("hello"), aad); err == nil {
				add(frame)
			}
		}
	}
	prefix, _ := streamPrefix(f)
	add(append(prefix, make([]byte, 100)...))
	o := loadOriginals(f)
	for _, c := range o.Ciphertexts {
		add(unbase64(f, c.Packed))
	}
	for _, c := range o.Negative {
		add(unbase64(f, c.Packed))
	}
	for _, c := range o.Hybrid {
		add(unbase64(f, c.Packed))
	}
	if seeds < 90 {
		f.Fatalf("%d seeds", seeds)
	}
	key := bytes.Repeat([]byte{9}, 64)
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := Parse(b)
		if err != nil {
			return
		}
		// What parses is made of names and fields that a writer could have written, and every byte is accounted for.
		if !validName(frame.KeyID) || !validName(string(frame.Algorithm)) || frame.OriginalHybrid == validName(frame.Context) ||
			len(frame.prefix)+len(frame.Encapsulated)+len(frame.body) != len(b) || len(frame.Encapsulated) != frame.encapsulated {
			t.Fatalf("parsed %q", b)
		}
		again := false
		for _, header := range rewrite(&frame) {
			again = again || header == string(frame.prefix[2:])
		}
		if !again {
			t.Fatalf("%q comes back as %q", frame.prefix[2:], rewrite(&frame))
		}
		read, err := ReadHeader(bytes.NewReader(b))
		if err != nil || read.Attach(b[len(read.prefix):]) != nil || !bytes.Equal(read.body, frame.body) || read.Salt != frame.Salt {
			t.Fatalf("read as %+v, %v", read, err)
		}
		// Nobody who fuzzes has a key; whatever this is, it does not open, and says so in the errors of this package.
		for _, n := range []int{0, 16, 32, 64} {
			for _, open := range []func(dst, key, aad []byte) ([]byte, error){frame.Open, frame.OpenImported} {
				if _, err := open(nil, key[:n], nil); !errors.Is(err, ErrCommitment) && !errors.Is(err, ErrTag) {
					t.Fatalf("opened with %v", err)
				}
			}
		}
		if _, err := frame.StreamKey(key[:32]); !errors.Is(err, ErrCommitment) {
			t.Fatalf("stream key: %v", err)
		}
		frame.Pretend([]byte("a"))
	})
}

func TestHeadersThatNobodyWrites(t *testing.T) {
	const nonce, nonce16 = `"nonce":"AAAAAAAAAAAAAAAA"`, `"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="`
	b32 := base64.StdEncoding.EncodeToString(make([]byte, 32))
	kc, salt := `"kc":"`+b32+`"`, `"salt":"`+b32+`"`
	const names = `"ctx":"c","kid":"k","alg":"AES-256-GCM"`
	const hybrid = `"ctx":"c","kid":"k","alg":"AES-256-GCM+ML-KEM-768"`
	good := []string{
		`{"v":1,` + names + `,` + nonce + `}`,
		`{"v":2,` + names + `,"mode":"gcm",` + nonce + `}`,
		`{"v":3,` + names + `,"mode":"gcm",` + nonce + `,` + kc + `}`,
		`{"v":3,` + names + `,"mode":"gcm",` + nonce + `,` + kc + `,"aad":true}`,
		`{"v":4,` + names + `,` + salt + `,` + kc + `}`,
		`{"v":4,` + names + `,` + salt + `,` + kc + `,"seg":65536}`,
		`{"v":4,` + hybrid + `,"kem_ct_len":1088,` + salt + `,` + kc + `}`,
		`{"v":4,` + hybrid + `,"kem_ct_len":1,` + salt + `,` + kc + `}`,
		`{"v":4,` + hybrid + `,"kem_ct_len":16384,` + salt + `,` + kc + `}`,
		`{"v":1,"mode":"AES-256-GCM+ML-KEM-1024","kid":"k",` + nonce + `,"kem_ct_len":1568}`,
		`{"v":1,"mode":"ChaCha20-Poly1305+ML-KEM-768","kid":"k",` + nonce + `,"kem_ct_len":1088}`,
		`{"v":3,"ctx":"c","kid":"k","alg":"unknown","mode":"unknown",` + nonce16 + `,` + kc + `}`,
	}
	bad := []string{
		`{"v":0,` + names + `,` + nonce + `}`,
		`{"v":1,` + names + `,` + nonce + `,` + kc + `}`,
		`{"v":1,` + names + `,"mode":"gcm",` + nonce + `}`,
		`{"v":1,` + names + `,` + nonce16 + `}`,
		`{"v":1,"ctx":"c","kid":"k","alg":"AES-256-CCM",` + nonce + `}`,
		`{"v":2,` + names + `,` + nonce + `}`,
		`{"v":2,` + names + `,"mode":"ccm",` + nonce + `}`,
		`{"v":3,` + names + `,"mode":"ctr",` + nonce + `,` + kc + `}`,
		`{"v":3,"ctx":"c","kid":"k","alg":"AES-256-CCM","mode":"gcm",` + nonce + `,` + kc + `}`,
		`{"v":2,` + names + `,"mode":"gcm",` + nonce + `,` + kc + `}`,
		`{"v":2,` + names + `,"mode":"gcm",` + nonce + `,"aad":true}`,
		`{"v":2,` + names + `,"mode":"gcm",` + nonce16 + `}`,
		`{"v":3,` + names + `,"mode":"gcm",` + nonce + `}`,
		`{"v":3,` + names + `,"mode":"gcm",` + nonce + `,"aad":true}`,
		`{"v":3,` + names + `,"mode":"gcm",` + nonce + `,` + kc + `,"aad":1}`,
		`{"v":3,` + names + `,"mode":"gcm",` + nonce + `,` + kc + `,"aad":true,"aad":true}`,
		`{"v":3,` + names + `,"mode":"gcm",` + kc + `,` + nonce + `}`,
		`{"v":3,"ctx":"c","kid":"k","alg":"AES-256-CBC","mode":"cbc",` + nonce + `,` + kc + `}`,
		`{"v":3,"ctx":"c","kid":"k","alg":"ChaCha20-Poly1305","mode":"ctr",` + nonce + `,` + kc + `}`,
		`{"v":3,` + names + `,"mode":"gcm","nonce":"AAAAAAAAAAAAAAA",` + kc + `}`,
		`{"v":3,` + names + `,"mode":"gcm","nonce":"AAAAAAAAAAAAAAAAAAAAAB==",` + kc + `}`,
		`{"v":4,` + names + `,"mode":"gcm",` + nonce + `,` + kc + `}`,
		`{"v":4,` + names + `,"kem_ct_len":1088,` + salt + `,` + kc + `}`,
		`{"v":4,` + hybrid + `,` + salt + `,` + kc + `}`,
		`{"v":4,` + hybrid + `,"kem_ct_len":0,` + salt + `,` + kc + `}`,
		`{"v":4,` + hybrid + `,"kem_ct_len":01088,` + salt + `,` + kc + `}`,
		`{"v":4,` + hybrid + `,"kem_ct_len":-1,` + salt + `,` + kc + `}`,
		`{"v":4,` + hybrid + `,"kem_ct_len":1e3,` + salt + `,` + kc + `}`,
		`{"v":4,` + hybrid + `,"kem_ct_len":"1088",` + salt + `,` + kc + `}`,
		`{"v":4,` + hybrid + `,"kem_ct_len":16385,` + salt + `,` + kc + `}`,
		`{"v":4,` + hybrid + `,"kem_ct_len":99999999999999999999,` + salt + `,` + kc + `}`,
		`{"v":4,` + hybrid + `,"kem_ct_len":1088,` + salt + `,` + kc + `,"seg":65536}`,
		`{"v":4,` + hybrid + `,` + salt + `,"kem_ct_len":1088,` + kc + `}`,
		`{"v":4,"ctx":"c","kid":"k","alg":"ChaCha20-Poly1305+ML-KEM-768","kem_ct_len":1088,` + salt + `,` + kc + `}`,
		`{"v":1,"mode":"AES-256-GCM+ML-KEM-768","kid":"k",` + nonce + `,"kem_ct_len":1568}`,
		`{"v":1,"mode":"AES-256-GCM+ML-KEM-512","kid":"k",` + nonce + `,"kem_ct_len":768}`,
		`{"v":1,"mode":"X25519MLKEM768+AES-256-GCM","kid":"k",` + nonce + `,"kem_ct_len":1120}`,
		`{"v":1,"mode":"AES-256-GCM+ML-KEM-768","kid":"k",` + nonce16 + `,"kem_ct_len":1088}`,
		`{"v":2,"mode":"AES-256-GCM+ML-KEM-768","kid":"k",` + nonce + `,"kem_ct_len":1088}`,
	}
	body := make([]byte, MaxEncapsulated+100)
	for _, h := range good {
		if _, err := Parse(withHeader(h, body)); err != nil {
			t.Errorf("%s: %v", h, err)
		}
	}
	for _, h := range bad {
		if _, err := Parse(withHeader(h, body)); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", h, err)
		}
	}
	// A body that ends within the KEM ciphertext, or right behind it.
	for _, n := range []int{0, 1087, 1088, 1088 + 27} {
		if _, err := Parse(withHeader(good[6], body[:n])); !errors.Is(err, ErrFrame) {
			t.Errorf("hybrid body of %d bytes: %v", n, err)
		}
	}
	if _, err := Parse(withHeader(good[6], body[:1088+28])); err != nil {
		t.Errorf("the shortest hybrid body: %v", err)
	}
}
