package stream

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"cryptoserve/engine/vectortest"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
)

func tink(t testing.TB, l layout) *subtle.AESGCMHKDF {
	t.Helper()
	a, err := subtle.NewAESGCMHKDF(testKey, "SHA256", 32, int(l.segment), 0)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func tinkOpen(t testing.TB, l layout, stream, aad []byte) ([]byte, error) {
	t.Helper()
	r, err := tink(t, l).NewDecryptingReader(bytes.NewReader(stream), aad)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// TestTinkBothWays: tink-go reads what is written here, and what tink-go writes is read here, in every way.
func TestTinkBothWays(t *testing.T) {
	for _, l := range []layout{small, standard} {
		sizes := append(borders(l), 10*l.segment, 10*l.segment+l.segment/3)
		for _, size := range sizes {
			for _, aad := range [][]byte{nil, testAAD, pattern(5000)} {
				t.Run(fmt.Sprintf("%d-%d-%d", l.segment, size, len(aad)), func(t *testing.T) {
					want := pattern(size)
					var ours bytes.Buffer
					w, err := newWriter(&ours, l, testKey, aad, testSalt, testPre)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := w.Write(want); err != nil {
						t.Fatal(err)
					}
					if err := w.Close(); err != nil {
						t.Fatal(err)
					}
					if got, err := tinkOpen(t, l, ours.Bytes(), aad); err != nil || !bytes.Equal(got, want) {
						t.Errorf("tink read %d bytes, %v", len(got), err)
					}

					var theirs bytes.Buffer
					tw, err := tink(t, l).NewEncryptingWriter(&theirs, aad)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := tw.Write(want); err != nil {
						t.Fatal(err)
					}
					if err := tw.Close(); err != nil {
						t.Fatal(err)
					}
					if n := l.ciphertextLength(size); n != int64(theirs.Len()) {
						t.Errorf("tink wrote %d bytes, want %d", theirs.Len(), n)
					}
					for way, open := range entries(l, testKey, aad) {
						if got, err := open(theirs.Bytes()); err != nil || !bytes.Equal(got, want) {
							t.Errorf("%s: %d bytes, %v", way, len(got), err)
						}
					}
				})
			}
		}
	}
}

// TestTinkTakesAnEmptyLastSegment holds the one stream that tink-go's reader takes and this package refuses: doc.go says so.
func TestTinkTakesAnEmptyLastSegment(t *testing.T) {
	stream := withEmptyLast(t, small, 2)
	if got, err := tinkOpen(t, small, stream, testAAD); err != nil || !bytes.Equal(got, pattern(small.start(2))) {
		t.Errorf("tink: %d bytes, %v", len(got), err)
	}
	if _, err := open(bytes.NewReader(stream), small); !errors.Is(err, ErrDamaged) {
		t.Errorf("here: %v", err)
	}
}

// TestVectorsTinkWalkThrough seals and opens the example that Tink's authors made by hand from the documentation of the
// format. It has other parameters (AES-128, SHA-1, segments of 64 bytes), which the segment layer does not depend on.
func TestVectorsTinkWalkThrough(t *testing.T) {
	text, err := os.ReadFile("testdata/tink.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Segment   int64            `json:"segment_bytes"`
		StreamKey vectortest.Hex   `json:"stream_key"`
		Header    vectortest.Hex   `json:"header"`
		Plaintext string           `json:"plaintext"`
		Segments  []vectortest.Hex `json:"segments"`
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(v.StreamKey)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	l := layout{segment: v.Segment, header: int64(len(v.Header))}
	prefix := v.Header[len(v.Header)-prefixBytes:]
	var body []byte
	for _, s := range v.Segments {
		body = append(body, s...)
	}
	account := vectortest.New(t, "AES-GCM-HKDF streaming", "tink-cross-lang-tests")

	var b bytes.Buffer
	w := sealTo(&b, l, aead, v.Header, prefix)
	if _, err := w.Write([]byte(v.Plaintext)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	account.Check("seal", true, vectortest.Differ("stream", b.String(), string(v.Header)+string(body)))

	got, err := collect(openFrom(bytes.NewReader(body), l, aead, prefix))
	account.Check("open", true, errors.Join(err, vectortest.Differ("plaintext", string(got), v.Plaintext)))

	for i := range body {
		body[i] ^= 1
		if _, err := collect(openFrom(bytes.NewReader(body), l, aead, prefix)); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		body[i] ^= 1
	}
}
