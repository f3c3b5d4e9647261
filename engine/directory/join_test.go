package directory

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"testing"
)

func TestNodeTexts(t *testing.T) {
	for name, test := range map[string]struct {
		valid     func(string) bool
		good, bad []string
	}{
		"id": {ValidNodeID, []string{"n", "node_0123456789abcdef", "Node-1", strings.Repeat("n", 64)},
			[]string{"", "1node", "-n", "_n", "a.b", "a/b", "a b", "é", "a\x00", strings.Repeat("n", 65)}},
		"name": {ValidNodeName, []string{"n", "host-1.example.com", "1", "a_b"}, []string{"", "a b", "é", "a/b", "a\n", strings.Repeat("n", 65)}},
		"address": {ValidNodeAddress, []string{"a:1", "192.0.2.1:8444", "[2001:db8::1]:65535", "host.example.com:8444"},
			[]string{
				"", "a", ":1", "a:", "a:0", "a:65536", "a:01", "a:+1", "a:-1", "2001:db8::1:8444", "a b:1", "é:1", "a:1\n", strings.Repeat("a", 260) + ":1",
			}},
	} {
		for _, text := range test.good {
			if !test.valid(text) {
				t.Errorf("%s: %q is refused", name, text)
			}
		}
		for _, text := range test.bad {
			if test.valid(text) {
				t.Errorf("%s: %q is taken", name, text)
			}
		}
	}
}

// TestJoinDigests holds what nodes of two versions must sign alike.
func TestJoinDigests(t *testing.T) {
	j := Join{
		Hash: [32]byte{1}, Node: "node_1", Name: "host", Address: "h:1", API: "h:2", Method: JoinWrap, NodeKey: []byte("node"),
		JoinKey: []byte("join"), OAEP: "SHA-256", Check: KeyCheckValues{[]byte("m"), []byte("p"), []byte("s")}, CommandVersion: 258, Program: "1",
	}
	for name, test := range map[string]struct {
		got  [32]byte
		want string
	}{
		"request":     {j.RequestDigest(), "3fe56ee4a47dd1b58b684c9d704bc3834b8458aa2db239459a708193c01b043f"},
		"complete":    {JoinCompleteDigest("join_1", &j.Check), "6588e85b48e51c29b76cad6552f6a36aebac158c58cd85bc058ab46ace0deff5"},
		"fingerprint": {j.Fingerprint(), "57e2cf2340d15464aaacb5f77640e9c3ee34bb811631c286c816326fe637c5a7"},
	} {
		if got := hex.EncodeToString(test.got[:]); got != test.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	other := j
	other.ID, other.Invitation, other.State, other.CreatedAt, other.DecidedBy = "x", "x", JoinDone, 1, "x"
	if other.RequestDigest() != j.RequestDigest() {
		t.Error("the node signs what is not its own")
	}
	other.Node, other.Name = "node_1h", "ost"
	if other.RequestDigest() == j.RequestDigest() {
		t.Error("two requests are signed alike")
	}
}

func TestNodeKeys(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseNodeKey(der); err != nil || !got.Equal(&key.PublicKey) {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, der[:len(der)-1], append(bytes.Clone(der), 0), []byte("x")} {
		if _, err := ParseNodeKey(bad); err == nil {
			t.Errorf("%x is taken", bad)
		}
	}
	if CheckJoinKey(der) == nil || CheckJoinKey(nil) == nil {
		t.Error("a join key is what it is not")
	}
}

// TestCheckValuesEqual: what tells nothing is equal to nothing.
func TestCheckValuesEqual(t *testing.T) {
	whole := KeyCheckValues{[]byte("m"), []byte("p"), []byte("s")}
	if !whole.Equal(&KeyCheckValues{[]byte("m"), []byte("p"), []byte("s")}) {
		t.Error("the same are not equal")
	}
	for _, o := range []KeyCheckValues{{}, {[]byte("x"), []byte("p"), []byte("s")}, {[]byte("m"), []byte("x"), []byte("s")}, {[]byte("m"), []byte("p"), nil}} {
		if whole.Equal(&o) || o.Equal(&whole) || o.Equal(&KeyCheckValues{o.Master, o.WrapPrivate, nil}) {
			t.Errorf("%v is equal", o)
		}
	}
	if n := (*Cluster)(nil).Commands(); n != 1 || (&Cluster{CommandVersion: 3}).Commands() != 3 {
		t.Error(n)
	}
}
