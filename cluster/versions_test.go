package cluster

import (
	"archive/tar"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/fault"
)

// unpack puts a directory that an older program wrote into a new one.
func unpack(t testing.TB, archive string) string {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else {
			var b []byte
			if b, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, b, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestGoldenLog opens directories that earlier programs wrote: a snapshot, and entries behind it. The state is what it was for
// them. A file may be added for a new version, never changed.
func TestGoldenLog(t *testing.T) {
	for _, golden := range []struct {
		file, digest string
		index        uint64
	}{
		// Of the last program that knew one node only: commands 1 to 53 of version 1.
		{"v1-log.tar.gz", "4c4ee1bfb962c17603d9371f9c9995f4d7c7c6f533ac371341ec0488adbb67cb", 52},
	} {
		t.Run(golden.file, func(t *testing.T) {
			cfg := testConfig(t, unpack(t, filepath.Join("testdata", golden.file)))
			n := mustOpen(t, cfg)
			index, digest := n.Digest()
			if index != golden.index || hex.EncodeToString(digest[:]) != golden.digest {
				t.Fatalf("digest %x at %d", digest, index)
			}
			mustPropose(t, n, command.LeaseUsage{Key: orchardKey(2, 2), Count: 1})
			mustClose(t, n)
			if n = mustOpen(t, cfg); n.View().Tenant("ten-b").Version(orchardKey(2, 2)).Leased != 10 {
				t.Fatal("what was written after the upgrade is gone")
			}
		})
	}
}

// TestUpgrade: a cluster of version 1 writes nothing of version 2 until that is finalised.
func TestUpgrade(t *testing.T) {
	n := mustOpen(t, testConfig(t, unpack(t, filepath.Join("testdata", "v1-log.tar.gz"))))
	second := command.RecordBackup{}
	_, err := n.Propose(testContext(t), second)
	if !errors.Is(err, fault.Conflict) || !strings.Contains(detailOf(err), "finalise version 2") {
		t.Fatal(err)
	}
	if err := n.mayWrite(byOwner(second)); !errors.Is(err, fault.Conflict) {
		t.Fatalf("guarded: %v", err)
	}
	if err := n.mayWrite(command.Once{Command: encoded(byOwner(second))}); !errors.Is(err, fault.Conflict) {
		t.Fatalf("once: %v", err)
	}
	if err := n.mayWrite(byOwner(leaseOne)); err != nil {
		t.Fatal(err)
	}
	mustPropose(t, n, newMember("node-1")) // whose program is old
	if _, err := n.Propose(testContext(t), command.FinaliseVersion{Version: 2}); !errors.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
	mustPropose(t, n, command.UpdateMember{ID: "node-1", Address: "node-1.example.com:8444", CommandVersion: 2}, command.FinaliseVersion{Version: 2})
	if err := n.mayWrite(byOwner(second)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Propose(testContext(t), command.FinaliseVersion{Version: 1}); !errors.Is(err, fault.Conflict) {
		t.Fatalf("back: %v", err)
	}
}

// TestOldProgram: a node stops, and says why, when the cluster was finalised at a version that it does not know; also when it
// learns that from a snapshot.
func TestOldProgram(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	n := mustOpen(t, cfg)
	later := command.Newest() + 1
	mustPropose(t, n, newCluster(), changed(newMember("node-1"), func(c *command.AddMember) { c.Member.CommandVersion = later }))
	if _, err := n.Propose(testContext(t), command.FinaliseVersion{Version: later}); err != nil && fault.Of(err) != fault.LedgerUnavailable {
		t.Fatal(err)
	}
	stopped := func(err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "install the program") {
			t.Fatal(err)
		}
	}
	stopped(<-n.Failed())
	mustClose(t, n)
	stopped(openFails(t, cfg))
	f := testFSM(t)
	mustApply(t, f.db, newCluster(), changed(newMember("node-1"), func(c *command.AddMember) { c.Member.CommandVersion = later }),
		command.FinaliseVersion{Version: later})
	f.publish(effects{applied: 9})
	stopped(roundTrip(t, f).failure())
}
