package backup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"cryptoserve/engine/seal"
	"cryptoserve/engine/secret"
)

func testKey(fill byte) secret.Bytes { return secret.New(bytes.Repeat([]byte{fill}, 32)) }

func testManifest() Manifest {
	at := time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC)
	return Manifest{
		ID: NewID(at, [8]byte{1, 2, 3}), Cluster: "cluster_0123456789abcdef", Node: "node_0123456789abcdef", CreatedAt: at, Index: 41, Term: 3,
		StateDigest: bytes.Repeat([]byte{5}, 32), Records: 7, MasterKCV: bytes.Repeat([]byte{6}, 8), Program: "1.2.3", Commands: 1,
		Recovery: []Blob{{Name: "cs-master-1", Data: []byte("wrapped")}},
	}
}

// content is n bytes that do not repeat from frame to frame.
func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func mustWrite(t testing.TB, m Manifest, body []byte) ([]byte, Manifest) {
	t.Helper()
	var b bytes.Buffer
	m, err := Write(&b, testKey(7), m, func(w io.Writer) error {
		_, err := w.Write(body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), m
}

// readAll opens a backup and reads it to its end.
func readAll(r io.Reader, key secret.Bytes) (Manifest, []byte, error) {
	m, body, err := Open(r, key)
	if err != nil {
		return m, nil, err
	}
	b, err := io.ReadAll(body)
	return m, b, err
}

// borders returns where the parts of a file end: line, manifest, seal, stream id, each frame, trailer.
func borders(t testing.TB, file []byte) []int {
	t.Helper()
	line := bytes.IndexByte(file, '\n') + 1
	_, head, err := readHead(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	at := []int{line, len(head), len(head) + seal.Overhead, len(head) + seal.Overhead + seal.StreamIDBytes}
	for end := at[len(at)-1]; end < len(file)-trailerBytes; at = append(at, end) {
		end += 4 + int(binary.BigEndian.Uint32(file[end:]))
	}
	return append(at, len(file))
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, frameBytes - 1, frameBytes, frameBytes + 1, 3 * frameBytes, 20 << 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			body := content(n)
			file, wrote := mustWrite(t, testManifest(), body)
			m, got, err := readAll(bytes.NewReader(file), testKey(7))
			if err != nil || !bytes.Equal(got, body) {
				t.Fatalf("%d bytes of %d: %v", len(got), n, err)
			}
			if !m.Authentic || m.ID != wrote.ID || m.Index != 41 || !bytes.Equal(m.KeyCheck, wrote.KeyCheck) ||
				string(m.Recovery[0].Data) != "wrapped" || !m.CreatedAt.Equal(testManifest().CreatedAt) {
				t.Errorf("manifest %+v", m)
			}
			checked, err := Check(bytes.NewReader(file))
			if err != nil || checked.Authentic || checked.Bytes != wrote.Bytes || !bytes.Equal(checked.SHA256, wrote.SHA256) ||
				wrote.Bytes != int64(len(file)-trailerBytes) {
				t.Errorf("checked %+v, %v", checked, err)
			}
			frames := max(1, (n+frameBytes-1)/frameBytes)
			if got := len(borders(t, file)) - 5; got != frames {
				t.Errorf("%d frames, not %d", got, frames)
			}
		})
	}
}

// TestPieces writes and reads in odd pieces, and from a source that gives its end with its last byte.
func TestPieces(t *testing.T) {
	body := content(2*frameBytes + 77)
	var b bytes.Buffer
	_, err := Write(&b, testKey(7), testManifest(), func(w io.Writer) error {
		for rest := body; len(rest) > 0; {
			n := min(len(rest), 1000)
			if _, err := w.Write(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]io.Reader{
		"one byte":     iotest.OneByteReader(bytes.NewReader(b.Bytes())),
		"half":         iotest.HalfReader(bytes.NewReader(b.Bytes())),
		"data and end": iotest.DataErrReader(bytes.NewReader(b.Bytes())),
	} {
		if _, got, err := readAll(r, testKey(7)); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// TestInvariant02EveryBitOfABackupIsProtected flips each bit before the body, each near the border of a part, and some in between.
func TestInvariant02EveryBitOfABackupIsProtected(t *testing.T) {
	body := content(2*frameBytes + 5000)
	file, _ := mustWrite(t, testManifest(), body)
	ends := borders(t, file)
	near := func(i int) bool {
		for _, end := range ends {
			if i >= end-6 && i < end+6 {
				return true
			}
		}
		return i < ends[3] || i >= len(file)-trailerBytes || i%4999 == 0
	}
	flipped := 0
	for i := range file {
		if !near(i) {
			continue
		}
		for bit := range 8 {
			bad := bytes.Clone(file)
			bad[i] ^= 1 << bit
			_, got, err := readAll(bytes.NewReader(bad), testKey(7))
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotBackup) && !errors.Is(err, ErrNewer) && !errors.Is(err, ErrWrongKey) {
				t.Fatalf("bit %d of byte %d flipped: %v", bit, i, err)
			}
			if !bytes.HasPrefix(body, got) {
				t.Fatalf("bit %d of byte %d flipped: other content was given", bit, i)
			}
			if _, err := Check(bytes.NewReader(bad)); err == nil {
				t.Fatalf("bit %d of byte %d flipped: Check did not see it", bit, i)
			}
			flipped++
		}
	}
	if flipped < 8*len(file[:ends[3]]) {
		t.Fatalf("only %d bits were flipped", flipped)
	}
}

// TestCutAnywhereIsNoticed cuts at each border, beside it and between, and says that it was cut.
func TestCutAnywhereIsNoticed(t *testing.T) {
	body := content(3*frameBytes + 9)
	file, _ := mustWrite(t, testManifest(), body)
	cuts := map[int]bool{1: true}
	last := 0
	for _, end := range borders(t, file) {
		for _, i := range []int{end - 1, end, end + 1, (last + end) / 2, end + trailerBytes} {
			if i > 0 && i < len(file) {
				cuts[i] = true
			}
		}
		last = end
	}
	for i := range cuts {
		_, got, err := readAll(bytes.NewReader(file[:i]), testKey(7))
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "cut") && !strings.Contains(err.Error(), "EOF") {
			t.Errorf("cut after %d bytes: %v", i, err)
		}
		if !bytes.HasPrefix(body, got) {
			t.Errorf("cut after %d bytes: other content was given", i)
		}
		if _, err := Check(bytes.NewReader(file[:i])); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut after %d bytes: Check said %v", i, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	body := content(2*frameBytes + 5)
	file, _ := mustWrite(t, testManifest(), body)
	same, _ := mustWrite(t, testManifest(), body)
	later := testManifest()
	later.ID, later.Index = NewID(later.CreatedAt, [8]byte{9}), 42
	other, _ := mustWrite(t, later, body)
	at, atOther := borders(t, file), borders(t, other)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	// trailed puts a trailer that fits, as somebody would who changes a file on purpose.
	trailed := func(b []byte) []byte {
		h := newHeld(bytes.NewReader(append(bytes.Clone(b), make([]byte, trailerBytes)...)))
		_, _ = io.Copy(io.Discard, h)
		return append(binary.BigEndian.AppendUint64(bytes.Clone(b), uint64(len(b))), h.hash.Sum(nil)...)
	}
	end := len(file) - trailerBytes
	for name, c := range map[string]struct {
		file []byte
		want error
		text string
	}{
		"nothing":                  {nil, ErrNotBackup, "empty"},
		"something else":           {[]byte("PK\x03\x04 something else"), ErrNotBackup, ""},
		"no line":                  {[]byte(magic + strings.Repeat("1", 100)), ErrNotBackup, ""},
		"a first line alone":       {file[:at[0]], ErrDamaged, "cut"},
		"format 0":                 {append([]byte("cryptoserve-backup/0"), file[20+1:]...), ErrDamaged, "format"},
		"format 01":                {append([]byte("cryptoserve-backup/01"), file[20:]...), ErrDamaged, "format"},
		"format 2":                 {append([]byte("cryptoserve-backup/2"), file[20:]...), ErrNewer, "use cryptoserved 1.2.3 or later"},
		"format 3 of other shape":  {append([]byte("cryptoserve-backup/3 what comes\n"), make([]byte, 100)...), ErrNewer, ""},
		"format 3, nothing else":   {append([]byte("cryptoserve-backup/3\n"), make([]byte, 100)...), ErrNewer, "the program that made it"},
		"manifest too long":        {append([]byte("cryptoserve-backup/1 65537\n"), make([]byte, 100)...), ErrDamaged, "length"},
		"manifest of another":      {trailed(join(other[:at[1]], file[at[1]:end])), ErrDamaged, "manifest"},
		"head of another":          {trailed(join(other[:at[2]], file[at[2]:end])), ErrDamaged, "frame 0 "},
		"body of another":          {trailed(join(file[:at[2]], other[atOther[2]:len(other)-trailerBytes])), ErrDamaged, "frame 0 "},
		"body of an equal one":     {trailed(join(file[:at[2]], same[at[2]:end])), ErrDamaged, "frame 0 "},
		"frames swapped":           {trailed(join(file[:at[3]], file[at[4]:at[5]], file[at[3]:at[4]], file[at[5]:end])), ErrDamaged, "frame 0 "},
		"a frame repeated":         {trailed(join(file[:at[4]], file[at[3]:end])), ErrDamaged, "frame 1 "},
		"a frame left out":         {trailed(join(file[:at[3]], file[at[4]:end])), ErrDamaged, "frame 0 "},
		"the last frame left out":  {trailed(file[:at[5]]), ErrDamaged, "frame 1 "},
		"extended":                 {append(bytes.Clone(file), 0), ErrDamaged, ""},
		"extended, with a trailer": {trailed(append(bytes.Clone(file[:end]), 0)), ErrDamaged, "frame 2 "},
		"a frame of another one":   {trailed(join(file[:at[3]], same[at[3]:at[4]], file[at[4]:end])), ErrDamaged, "frame 0 "},
		"trailer of another":       {join(file[:end], other[len(other)-trailerBytes:]), ErrDamaged, "trailer"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := readAll(bytes.NewReader(c.file), testKey(7))
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Fatal(err)
			}
		})
	}
	if _, got, err := readAll(bytes.NewReader(trailed(file[:end])), testKey(7)); err != nil || !bytes.Equal(got, body) {
		t.Fatalf("the test's own trailer does not fit: %v", err)
	}
}

func TestWrongKeyIsNamed(t *testing.T) {
	file, _ := mustWrite(t, testManifest(), content(10))
	_, _, err := Open(bytes.NewReader(file), testKey(8))
	if !errors.Is(err, ErrWrongKey) || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "cluster_0123456789abcdef") ||
		!strings.Contains(err.Error(), "0606060606060606") {
		t.Fatal(err)
	}
	if _, _, err := Open(bytes.NewReader(file), secret.New(make([]byte, 16))); err == nil || errors.Is(err, ErrWrongKey) {
		t.Fatalf("a key of 16 bytes: %v", err)
	}
}

// TestManifestNeedsNoKey reads it from a source that ends behind it.
func TestManifestNeedsNoKey(t *testing.T) {
	file, wrote := mustWrite(t, testManifest(), content(10))
	m, err := ReadManifest(bytes.NewReader(file[:borders(t, file)[1]]))
	if err != nil || m.ID != wrote.ID || m.Authentic {
		t.Fatalf("%+v, %v", m, err)
	}
	if !bytes.Contains(file[:borders(t, file)[1]], []byte(`"master_kcv": "0606060606060606"`)) {
		t.Error("the manifest cannot be read by people")
	}
}

// TestManifestHasOneEncoding: what says the same in other words was not written by a program.
func TestManifestHasOneEncoding(t *testing.T) {
	file, _ := mustWrite(t, testManifest(), nil)
	at := borders(t, file)
	text := string(file[at[0]:at[1]])
	for name, other := range map[string]string{
		"a field more":    strings.Replace(text, "{", "{\n  \"more\": 1,", 1),
		"a field twice":   strings.Replace(text, "{", "{\n  \"format\": 1,", 1),
		"a space":         strings.Replace(text, ": 41", ":  41", 1),
		"upper case":      strings.Replace(text, "\"index\"", "\"Index\"", 1),
		"another time":    strings.Replace(text, ".089Z", ".089000Z", 1),
		"something after": text + " ",
		"two values":      text + "{}\n",
	} {
		if _, err := ReadManifest(strings.NewReader(fmt.Sprintf("%s1 %d\n%s", magic, len(other), other))); !errors.Is(err, ErrDamaged) ||
			other == text {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	for name, change := range map[string]func(*Manifest){
		"id":         func(m *Manifest) { m.ID = "backup" },
		"cluster":    func(m *Manifest) { m.Cluster = "" },
		"node":       func(m *Manifest) { m.Node = "a\nb" },
		"local time": func(m *Manifest) { m.CreatedAt = m.CreatedAt.In(time.FixedZone("here", 3600)) },
		"microtime":  func(m *Manifest) { m.CreatedAt = m.CreatedAt.Add(time.Microsecond) },
		"no time":    func(m *Manifest) { m.CreatedAt = time.Time{} },
		"index":      func(m *Manifest) { m.Index = 0 },
		"digest":     func(m *Manifest) { m.StateDigest = nil },
		"kcv":        func(m *Manifest) { m.MasterKCV = m.MasterKCV[:7] },
		"blob":       func(m *Manifest) { m.Recovery[0].Data = nil },
		"too long":   func(m *Manifest) { m.Recovery[0].Data = make([]byte, maxManifest) },
	} {
		t.Run(name, func(t *testing.T) {
			m := testManifest()
			change(&m)
			var b bytes.Buffer
			if _, err := Write(&b, testKey(7), m, func(io.Writer) error { return nil }); err == nil || b.Len() != 0 {
				t.Fatalf("%d bytes were written: %v", b.Len(), err)
			}
		})
	}
}

// TestErrorsOfOthersStay: what the source, the sink or the body say is not taken for damage.
func TestErrorsOfOthersStay(t *testing.T) {
	gone := errors.New("the disk is gone")
	body := content(2 * frameBytes)
	file, _ := mustWrite(t, testManifest(), body)
	for _, n := range append(borders(t, file), 0, 1, 500, frameBytes) {
		for _, e := range []error{gone, io.ErrUnexpectedEOF} {
			_, _, err := readAll(io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(e)), testKey(7))
			if !errors.Is(err, e) || errors.Is(err, ErrDamaged) {
				t.Errorf("%v after %d bytes: %v", e, n, err)
			}
		}
	}
	if _, err := Write(io.Discard, testKey(7), testManifest(), func(io.Writer) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("body: %v", err)
	}
	for n := range 4 {
		_, err := Write(&failing{after: n, err: gone}, testKey(7), testManifest(), func(w io.Writer) error {
			_, err := w.Write(body)
			return err
		})
		if !errors.Is(err, gone) {
			t.Errorf("sink after %d writes: %v", n, err)
		}
	}
}

type failing struct {
	after int
	err   error
}

func (f *failing) Write(p []byte) (int, error) {
	if f.after--; f.after < 0 {
		return 0, f.err
	}
	return len(p), nil
}

// golden was written by this package under the key 07...07: a backup must open in every later program.
func TestGoldenOpens(t *testing.T) {
	m, body, err := readAll(bytes.NewReader(golden(t)), testKey(7))
	if err != nil || string(body) != "the state" || m.ID != "backup_20260304t050607z_0102030000000000" {
		t.Fatalf("%q, %+v, %v", body, m, err)
	}
}

// TestInvariant02BackupIsNotReadable: neither the body nor the key stands in the file.
func TestInvariant02BackupIsNotReadable(t *testing.T) {
	file, _ := mustWrite(t, testManifest(), bytes.Repeat([]byte("walrus-application "), 100))
	if bytes.Contains(file, []byte("walrus")) || bytes.Contains(file, testKey(7).Reveal()) {
		t.Fatal("it stands in the file")
	}
}
