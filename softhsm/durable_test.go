package softhsm

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// tokenOf makes a store with the files of one token, as SoftHSM2 lays them out.
func tokenOf(t *testing.T) (s *Store, object string) {
	t.Helper()
	s, err := Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(s.Tokens(), "01234567-89ab-cdef-0123-456789abcdef")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	object = filepath.Join(dir, tokenObject)
	for path, text := range map[string]string{object: "token", filepath.Join(dir, "key.object"): "key"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s, object
}

// TestLoginCutOff leaves the file that a login rewrites empty, as a power cut does.
func TestLoginCutOff(t *testing.T) {
	s, object := tokenOf(t)
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(object, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(); err != nil { // must not take the empty file for the newest
		t.Fatal(err)
	}
	again, err := Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(object)
	if err != nil || !bytes.Equal(raw, []byte("token")) {
		t.Fatalf("the file holds %q, %v", raw, err)
	}
	if m := again.Mended(); len(m) != 1 || m[0] != object {
		t.Errorf("mended %q", m)
	}
}

func TestWholeFilesStay(t *testing.T) {
	s, object := tokenOf(t)
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(object, []byte("newer"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(object)
	if err != nil || string(raw) != "newer" || len(again.Mended()) != 0 {
		t.Fatalf("the file holds %q, mended %q, %v", raw, again.Mended(), err)
	}
	if err := again.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(object, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s.Dir()); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(object); err != nil || string(raw) != "newer" {
		t.Fatalf("the copy is not the newest: %q, %v", raw, err)
	}
}

func TestSyncTellsWhatIsGone(t *testing.T) {
	s, _ := tokenOf(t)
	if err := os.RemoveAll(s.Tokens()); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(); err == nil {
		t.Fatal("a store without tokens was synced")
	}
}
