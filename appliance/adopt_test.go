package appliance

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A first run takes a token that is there only when it is told to, uses its keys, and leaves it alone when it is cut off.
func TestFirstRunAdoptsAToken(t *testing.T) {
	first := func(dir string, adopt bool) (*node, error) {
		t.Helper()
		config, err := DevConfig{Dir: dir, Listen: "127.0.0.1:0"}.config()
		if err != nil {
			t.Fatal(err)
		}
		n := &node{config: config, log: slog.New(slog.DiscardHandler), adopt: adopt}
		if err := n.lock(); err != nil {
			t.Fatal(err)
		}
		return n, n.firstRun(t.Context())
	}
	refused := func(dir string, adopt bool, text string) {
		t.Helper()
		n, err := first(dir, adopt)
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %q", err, text)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	refused(t.TempDir(), true, "there is no token to adopt")

	before, err := first(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"token", "token.pin", "token.so-pin"} {
		if err := os.Rename(filepath.Join(before.config.DataDir, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	refused(dir, false, "is there but")
	if _, err := os.Stat(filepath.Join(dir, unfinishedFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused first run left its mark: %v", err)
	}

	// Cut off, with half a cluster beside the token.
	cut := newIdentity()
	cut.TokenAdopted = true
	if err := errors.Join(cut.write(dir, unfinishedFile), os.Mkdir(filepath.Join(dir, "raft"), 0o700)); err != nil {
		t.Fatal(err)
	}
	n, err := first(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if n.identity.MasterKCV != before.identity.MasterKCV || n.identity.ClusterID == before.identity.ClusterID {
		t.Errorf("got %+v, want a new cluster with the keys of %+v", n.identity, before.identity)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}

	// Where an own token was begun, none is adopted: starting over would remove it.
	dir = t.TempDir()
	if err := newIdentity().write(dir, unfinishedFile); err != nil {
		t.Fatal(err)
	}
	refused(dir, true, "made a token of its own")
}
