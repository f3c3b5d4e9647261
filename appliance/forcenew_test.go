package appliance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cryptoserve/cluster"
	"cryptoserve/engine/audit"
)

// TestInvariant03ForceNew: going on alone leaves a record before it changes anything and one of how it ended; when it is refused,
// or has no record, nothing changes.
func TestInvariant03ForceNew(t *testing.T) {
	for name, c := range map[string]struct {
		allowed bool
		fails   error
		want    []string
	}{
		"carried out": {allowed: true, want: []string{"started", "success"}},
		"broken":      {allowed: true, fails: errors.New("the disk is full"), want: []string{"started", "failed"}},
		"refused":     {fails: errors.New("this is not the credential"), want: []string{"denied"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := &node{identity: &identity{NodeID: "node_a"}}
			dir := t.TempDir()
			var err error
			if n.audit, err = audit.Open(audit.Config{Dir: dir, Node: "node_a"}); err != nil {
				t.Fatal(err)
			}
			_, err = n.recorded(func(begin func() error) (*cluster.Recovered, error) {
				if !c.allowed {
					return nil, c.fails
				}
				return &cluster.Recovered{}, errors.Join(begin(), c.fails)
			})
			if !errors.Is(err, c.fails) {
				t.Fatalf("got %v", err)
			}
			if err := n.audit.Close(); err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(folder(t, dir)) {
				if !strings.Contains(line, `"cluster.force-new"`) {
					continue
				}
				for _, result := range []string{"started", "success", "failed", "denied"} {
					if strings.Contains(line, `"`+result+`"`) {
						got = append(got, result)
					}
				}
			}
			if strings.Join(got, " ") != strings.Join(c.want, " ") {
				t.Errorf("recorded %q, want %q", got, c.want)
			}
		})
	}
	n := &node{identity: &identity{NodeID: "node_a"}}
	var err error
	if n.audit, err = audit.Open(audit.Config{Dir: t.TempDir(), Node: "node_a"}); err != nil {
		t.Fatal(err)
	}
	if err := n.audit.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = n.recorded(func(begin func() error) (*cluster.Recovered, error) {
		if err := begin(); err != nil {
			return nil, err
		}
		t.Error("it went on without a record")
		return &cluster.Recovered{}, nil
	})
	if err == nil {
		t.Error("it succeeded without a record")
	}
}

// folder returns the text of all files in a directory.
func folder(t *testing.T, dir string) string {
	t.Helper()
	var text strings.Builder
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.IsDir() {
			continue
		}
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(raw)
	}
	return text.String()
}
