package appliance

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cryptoserve/cluster"
)

func noView() *cluster.View { return nil }

func memberAt(id, address string, key byte) memberEntry {
	return memberEntry{ID: id, Address: address, Key: bytes.Repeat([]byte{key}, 32)}
}

// TestMemberListOutlivesTheProcess: a node that starts finds the others before it has replayed its log.
func TestMemberListOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	l, err := openMemberList(dir, noView)
	if err != nil {
		t.Fatal(err)
	}
	l.learn([]memberEntry{memberAt("node_a", "a:8444", 1), memberAt("node_b", "b:8444", 2)})
	if err := l.save(); err != nil {
		t.Fatal(err)
	}
	if l, err = openMemberList(dir, noView); err != nil {
		t.Fatal(err)
	}
	key, ok := l.Member("node_b")
	if !ok || key != [32]byte(bytes.Repeat([]byte{2}, 32)) {
		t.Errorf("node_b is %x, %t", key, ok)
	}
	if seeds := l.seeds(); len(seeds) != 2 || seeds[0].Address != "a:8444" {
		t.Errorf("seeds are %+v", seeds)
	}
	if _, ok := l.Member("node_c"); ok {
		t.Error("a stranger is a member")
	}
}

// TestRemovedMembersStayRemoved: what an old member says cannot bring back one that was removed.
func TestRemovedMembersStayRemoved(t *testing.T) {
	l, err := openMemberList(t.TempDir(), noView)
	if err != nil {
		t.Fatal(err)
	}
	gone := memberAt("node_a", "a:8444", 1)
	gone.Removed = true
	l.learn([]memberEntry{gone})
	l.learn([]memberEntry{memberAt("node_a", "a:8444", 1)})
	if _, ok := l.Member("node_a"); ok {
		t.Error("a removed node is a member again")
	}
	if len(l.seeds()) != 0 {
		t.Error("a removed node is a seed")
	}
}

// TestInvariant04StrangersOfABadMember: a member tells of a node that the cluster never let in, and is removed. The node is no
// member for anyone whose state is the newest.
func TestInvariant04StrangersOfABadMember(t *testing.T) {
	l, err := openMemberList(t.TempDir(), noView)
	if err != nil {
		t.Fatal(err)
	}
	l.learn([]memberEntry{memberAt("node_x", "x:8444", 1)})
	if _, ok := l.Member("node_x"); !ok {
		t.Fatal("a node that is behind does not listen to the others")
	}
	current := true
	l.current = func() bool { return current }
	if _, ok := l.Member("node_x"); ok {
		t.Error("a stranger is a member")
	}
	if _, ok := l.Address("node_x"); ok {
		t.Error("a stranger has an address")
	}
}

func TestDamagedMemberList(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, membersFile), []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openMemberList(dir, noView); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("got %v", err)
	}
	l := &memberList{view: noView, known: map[string]memberEntry{"node_a": {ID: "node_a", Key: []byte{1}}}}
	if _, ok := l.Member("node_a"); ok {
		t.Error("a member with half a key is accepted")
	}
}

func TestClusterConfig(t *testing.T) {
	const head = "version: 1\nhsm: {pin_file: /p}\ncluster: "
	for text, want := range map[string]string{
		"{}":                      "",
		"{listen: 10.0.0.1:8444}": "",
		"{listen: 0.0.0.0:8444, advertise: node-1.example.com:8444}":     "",
		"{listen: 0.0.0.0:8444}":                                         "cluster.advertise",
		"{listen: here}":                                                 "cluster.listen",
		"{advertise: 10.0.0.1:8444}":                                     "cluster.advertise",
		"{listen: 10.0.0.1:8444, advertise: ':1'}":                       "cluster.advertise",
		"{listen: 10.0.0.1:8444, advertise: '[::]:1'}":                   "cluster.advertise",
		"{listen: 10.0.0.1:8444, name: " + strings.Repeat("n", 65) + "}": "cluster.name",
	} {
		_, err := load(t, head+text+"\n")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want something about %q", text, err, want)
		}
	}
}
