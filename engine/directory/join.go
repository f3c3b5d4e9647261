package directory

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"cryptoserve/engine/lp"
)

// JoinInvitationMost is how long an invitation to join lasts at most.
const JoinInvitationMost = 24 * time.Hour

// The longest id, name and address of a node, in bytes.
const (
	NodeIDMax      = 64
	NodeNameMax    = 64
	NodeAddressMax = 260
)

// ValidNodeID reports whether a text can be the id of a node: letters, digits, hyphens and underlines, a letter first. It stands in
// certificates and file names.
func ValidNodeID(id string) bool {
	for i, r := range id {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r != '-' && r != '_' && (r < '0' || r > '9')) {
			return false
		}
	}
	return id != "" && len(id) <= NodeIDMax
}

// ValidNodeName reports whether a text can be the name of a node, for people: letters, digits, dots, hyphens and underlines, as in
// the names of hosts.
func ValidNodeName(name string) bool {
	for _, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && r != '.' && r != '-' && r != '_' {
			return false
		}
	}
	return name != "" && len(name) <= NodeNameMax
}

// ValidNodeAddress reports whether a text is host:port, with both.
func ValidNodeAddress(address string) bool {
	if len(address) > NodeAddressMax || strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return false
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && port[0] != '0' && port[0] != '+'
}

// Commands returns the newest version of commands that may be written.
func (c *Cluster) Commands() uint32 {
	if c == nil || c.CommandVersion == 0 {
		return 1
	}
	return c.CommandVersion
}

// ParseNodeKey reads the public half of a node key: an ECDSA key on P-256, as SubjectPublicKeyInfo in DER.
func ParseNodeKey(spki []byte) (*ecdsa.PublicKey, error) {
	public, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, errors.New("it is no SubjectPublicKeyInfo")
	}
	key, ok := public.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("it is no ECDSA key on P-256")
	}
	if again, err := x509.MarshalPKIXPublicKey(key); err != nil || !bytes.Equal(again, spki) {
		return nil, errors.New("it is not DER")
	}
	return key, nil
}

// joinKeyBits is the length of a join key: DESIGN section 7.2.
const joinKeyBits = 4096

// CheckJoinKey refuses what is no RSA-4096 key as SubjectPublicKeyInfo in DER. Its exponent is for the token to judge.
func CheckJoinKey(spki []byte) error {
	public, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return errors.New("it is no SubjectPublicKeyInfo")
	}
	key, ok := public.(*rsa.PublicKey)
	if !ok || key.N.BitLen() != joinKeyBits {
		return errors.New("it is no RSA key of 4096 bits")
	}
	if again, err := x509.MarshalPKIXPublicKey(key); err != nil || !bytes.Equal(again, spki) {
		return errors.New("it is not DER")
	}
	return nil
}

// RequestDigest is what the node key signs when a node asks to join: SHA-256 over lp("cryptoserve/join-request/1") and lp of each
// thing that the node says, in the order of the fields, its invitation by the hash of the code. The rest is not the node's.
func (j *Join) RequestDigest() [32]byte {
	var version [4]byte
	binary.BigEndian.PutUint32(version[:], j.CommandVersion)
	b := lp.Append(nil, "cryptoserve/join-request/1")
	b = lp.Append(b, j.Hash[:])
	for _, text := range []string{j.Node, j.Name, j.Address, j.API, string(j.Method)} {
		b = lp.Append(b, text)
	}
	for _, part := range [][]byte{
		j.NodeKey, j.JoinKey, []byte(j.OAEP), j.Check.Master, j.Check.WrapPrivate, j.Check.WrapSecret, version[:], []byte(j.Program),
	} {
		b = lp.Append(b, part)
	}
	return sha256.Sum256(b)
}

// JoinCompleteDigest is what the node key signs when the token of the joining node has the keys: SHA-256 over
// lp("cryptoserve/join-complete/1") lp(id of the request) and lp of each key check value: master, wrap private, wrap secret.
func JoinCompleteDigest(id string, check *KeyCheckValues) [32]byte {
	b := lp.Append(lp.Append(nil, "cryptoserve/join-complete/1"), id)
	for _, value := range [][]byte{check.Master, check.WrapPrivate, check.WrapSecret} {
		b = lp.Append(b, value)
	}
	return sha256.Sum256(b)
}

// Equal reports whether two tokens hold the same keys. Tokens that tell nothing do not.
func (k *KeyCheckValues) Equal(o *KeyCheckValues) bool {
	return len(k.Master) > 0 && len(k.WrapPrivate) > 0 && len(k.WrapSecret) > 0 &&
		bytes.Equal(k.Master, o.Master) && bytes.Equal(k.WrapPrivate, o.WrapPrivate) && bytes.Equal(k.WrapSecret, o.WrapSecret)
}
