package backup

import (
	"bytes"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the golden file again")

func golden(t testing.TB) []byte {
	t.Helper()
	const path = "testdata/v1.csbackup"
	if *update {
		file, _ := mustWrite(t, testManifest(), []byte("the state"))
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzOpen: nothing but the golden file opens. Its bytes are the only ones sealed under this key that the fuzzer sees.
func FuzzOpen(f *testing.F) {
	file := golden(f)
	at := borders(f, file)
	f.Add(file)
	for _, end := range at {
		f.Add(file[:end])
	}
	f.Add(append(bytes.Clone(file), 0))
	f.Add([]byte("cryptoserve-backup/2 9\n{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, body, err := readAll(bytes.NewReader(b), testKey(7))
		if err == nil && (!bytes.Equal(b, file) || string(body) != "the state") {
			t.Fatal("something opened that was never sealed")
		}
		if err != nil && len(body) != 0 && string(body) != "the state" {
			t.Fatal("content was given that was never sealed")
		}
		if _, err := Check(bytes.NewReader(b)); err == nil {
			if _, err := ReadManifest(bytes.NewReader(b)); err != nil {
				t.Fatalf("Check took what has no manifest: %v", err)
			}
		}
	})
}

// FuzzReadManifest: what is read is written again as it was.
func FuzzReadManifest(f *testing.F) {
	file := golden(f)
	at := borders(f, file)
	f.Add(file)
	f.Add(file[:at[1]])
	f.Add(file[:at[0]])
	f.Add([]byte("cryptoserve-backup/1 3\n{}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ReadManifest(bytes.NewReader(b))
		if err != nil {
			return
		}
		head, err := m.encode()
		if err != nil || !bytes.HasPrefix(b, head) {
			t.Fatalf("%q was read and is written as %q: %v", b, head, err)
		}
	})
}
