package stream

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// hexText is a byte string that JSON has in hex.
type hexText []byte

func (h hexText) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

func (h *hexText) UnmarshalText(text []byte) (err error) {
	*h, err = hex.AppendDecode(nil, text)
	return err
}

// example is a stream with everything that made it. The plaintext is bytes that count 0 to 250 again and again.
type example struct {
	Name       string  `json:"name"`
	Segment    int64   `json:"segment_bytes"`
	Key        hexText `json:"key"`
	Associated hexText `json:"associated_data"`
	Salt       hexText `json:"salt"`
	Prefix     hexText `json:"nonce_prefix"`
	Length     int     `json:"plaintext_length"`
	Stream     hexText `json:"stream,omitempty"`
	SHA256     string  `json:"stream_sha256"`
}

func (e example) plaintext() []byte {
	b := make([]byte, e.Length)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func (e example) layout() layout { return layout{segment: e.Segment, header: HeaderBytes} }

// byHand makes the stream with nothing but the description in doc.go, so that the description stays true.
func (e example) byHand(t *testing.T) []byte {
	t.Helper()
	mac := func(key []byte, parts ...[]byte) []byte {
		m := hmac.New(sha256.New, key)
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	// HKDF with one block: Extract is HMAC(salt, ikm), Expand is HMAC(PRK, info || 0x01).
	block, err := aes.NewCipher(mac(mac(e.Salt, e.Key), e.Associated, []byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	stream := append(append([]byte{40}, e.Salt...), e.Prefix...)
	rest := e.plaintext()
	room := int(e.Segment) - 40 - 16
	for i := uint32(0); ; i++ {
		nonce := binary.BigEndian.AppendUint32(bytes.Clone(e.Prefix), i)
		if len(rest) <= room {
			return gcm.Seal(stream, append(nonce, 1), rest, nil)
		}
		stream = gcm.Seal(stream, append(nonce, 0), rest[:room], nil)
		rest, room = rest[room:], int(e.Segment)-16
	}
}

func TestGolden(t *testing.T) {
	const golden = "testdata/examples.json"
	if *update {
		writeGolden(t, golden)
	}
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Examples []example }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Examples) != 5 {
		t.Fatalf("%d examples", len(file.Examples))
	}
	for _, e := range file.Examples {
		t.Run(e.Name, func(t *testing.T) {
			var b bytes.Buffer
			w, err := newWriter(&b, e.layout(), e.Key, e.Associated, e.Salt, e.Prefix)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(e.plaintext()); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			for who, stream := range map[string][]byte{"the writer": b.Bytes(), "the description": e.byHand(t)} {
				sum := sha256.Sum256(stream)
				if hex.EncodeToString(sum[:]) != e.SHA256 {
					t.Errorf("%s makes another stream", who)
				}
				if len(e.Stream) > 0 && !bytes.Equal(stream, e.Stream) {
					t.Errorf("%s makes another stream", who)
				}
			}
			for way, open := range entries(e.layout(), e.Key, e.Associated) {
				if got, err := open(b.Bytes()); err != nil || !bytes.Equal(got, e.plaintext()) {
					t.Errorf("%s: %d bytes, %v", way, len(got), err)
				}
			}
		})
	}
}

func writeGolden(t *testing.T, name string) {
	t.Helper()
	count := func(from byte, n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = from + byte(i)
		}
		return b
	}
	var examples []example
	for _, c := range []struct {
		name    string
		segment int64
		length  int
		aad     string
	}{
		{"empty", SegmentBytes, 0, ""},
		{"short", SegmentBytes, 20, "user-pii"},
		{"three small segments", small.segment, 200, "user-pii"},
		{"full last segment", small.segment, int(small.start(3)), ""},
		{"three segments", SegmentBytes, 150000, "user-pii"},
	} {
		e := example{Name: c.name, Segment: c.segment, Key: count(0, 32), Associated: []byte(c.aad), Salt: count(0x40, 32), Prefix: count(0x80, 7), Length: c.length}
		stream := e.byHand(t)
		sum := sha256.Sum256(stream)
		e.SHA256 = hex.EncodeToString(sum[:])
		if len(stream) < 1000 {
			e.Stream = stream
		}
		examples = append(examples, e)
	}
	text, err := json.MarshalIndent(map[string]any{
		"about":    "Streams of package stream, made by hand as its doc.go describes. The plaintext counts 0 to 250 again and again.",
		"examples": examples,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(text, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}
