package appliance

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"cryptoserve/cluster"
	"cryptoserve/engine/directory"
)

// membersFile holds the members as this node last knew them. With it a node finds the others before it has replayed its log,
// and a node that just joined before it has one. It holds nothing secret; the state decides as soon as it is there.
const membersFile = "members.json"

// maxMembers bounds what a node takes over from another: far above the members of any cluster.
const maxMembers = 64

// memberEntry is a member in the file and between nodes.
type memberEntry struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Key     []byte `json:"key"` // SHA-256 of the SubjectPublicKeyInfo of the node key
	Removed bool   `json:"removed,omitempty"`
}

// memberList answers who is a member: from the newest state, and where that does not know a node and may be old, from what this
// node or a member it trusts knew. A member that was seen removed stays removed.
type memberList struct {
	path string
	view func() *cluster.View // nil while there is no state
	// current reports whether the state is the newest: then who is not in it is no member, whoever told of him. Nil means never.
	current func() bool

	mu    sync.Mutex
	known map[string]memberEntry
	saved []memberEntry
}

func openMemberList(dir string, view func() *cluster.View) (*memberList, error) {
	l := &memberList{path: filepath.Join(dir, membersFile), view: view, known: map[string]memberEntry{}}
	raw, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	var entries []memberEntry
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w; remove it, and the node learns the members from the others", l.path, err)
	}
	for _, e := range entries {
		l.known[e.ID] = e
	}
	l.saved = entries
	return l, nil
}

// find returns a member. The record in the state decides where there is one, and alone when the state is the newest.
func (l *memberList) find(id string) (memberEntry, bool) {
	if v := l.view(); v != nil {
		if m := v.Member(id); m != nil {
			e := entryOf(m)
			return e, !e.Removed
		}
	}
	if l.isCurrent() {
		return memberEntry{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.known[id]
	return e, ok && !e.Removed
}

func (l *memberList) isCurrent() bool { return l.current != nil && l.current() }

// forget drops what the newest state does not know: whoever told of it was wrong or lied, and what a removed member told must not
// count again when this node is behind later.
func (l *memberList) forget() {
	if !l.isCurrent() {
		return
	}
	v := l.view()
	if v == nil || len(v.Members()) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.known {
		if v.Member(id) == nil {
			delete(l.known, id)
		}
	}
}

// Member returns the hash of a member's node key, for transport.Config.
func (l *memberList) Member(id string) (key [32]byte, ok bool) {
	e, ok := l.find(id)
	if !ok || len(e.Key) != len(key) {
		return key, false
	}
	return [32]byte(e.Key), true
}

// Address returns where a member's cluster port is.
func (l *memberList) Address(id string) (string, bool) {
	e, ok := l.find(id)
	return e.Address, ok && e.Address != ""
}

// all returns the members that are known, removed ones too, in order of id.
func (l *memberList) all() []memberEntry {
	l.mu.Lock()
	entries := make(map[string]memberEntry, len(l.known))
	for id, e := range l.known {
		entries[id] = e
	}
	l.mu.Unlock()
	if v := l.view(); v != nil {
		for _, m := range v.Members() {
			entries[m.ID] = entryOf(m)
		}
	}
	list := make([]memberEntry, 0, len(entries))
	for _, e := range entries {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b memberEntry) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return list
}

// seeds returns the members as records, for a node that has no state yet.
func (l *memberList) seeds() []directory.Member {
	var seeds []directory.Member
	for _, e := range l.all() {
		if len(e.Key) == sha256.Size && !e.Removed {
			seeds = append(seeds, directory.Member{ID: e.ID, Address: e.Address, Key: [32]byte(e.Key), Status: directory.MemberActive})
		}
	}
	return seeds
}

// learn takes over what a member said. It cannot bring back one that was removed.
func (l *memberList) learn(entries []memberEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		before, known := l.known[e.ID]
		if known && before.Removed || !known && len(l.known) >= maxMembers {
			continue
		}
		l.known[e.ID] = e
	}
}

// save writes the file when the members are other than those in it.
func (l *memberList) save() error {
	l.forget()
	list := l.all()
	l.mu.Lock()
	same := slices.EqualFunc(list, l.saved, func(a, b memberEntry) bool {
		return a.ID == b.ID && a.Address == b.Address && a.Removed == b.Removed && slices.Equal(a.Key, b.Key)
	})
	l.mu.Unlock()
	if same {
		return nil
	}
	raw, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFile(l.path, append(raw, '\n')); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved = list
	return nil
}

func entryOf(m *directory.Member) memberEntry {
	return memberEntry{ID: m.ID, Address: m.Address, Key: m.Key[:], Removed: m.Status != directory.MemberActive}
}
