package joincode

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"cryptoserve/engine/directory"
	"cryptoserve/engine/lp"
)

// Prefix begins each code.
const Prefix = "csj1_"

// MaxAddresses is how many addresses a code has at most.
const MaxAddresses = 3

const (
	checksumLabel = "cryptoserve/join-code/1"
	checksumBytes = 4
	secretBytes   = 32
	// maxText bounds what Parse looks at: a code with the longest addresses is shorter.
	maxText = 2048
)

// Secret is what proves that somebody was invited. It prints as its length.
type Secret [secretBytes]byte

// Hash is what the cluster knows of the secret.
func (s Secret) Hash() [32]byte { return sha256.Sum256(s[:]) }

// String shows no secret.
func (s Secret) String() string { return fmt.Sprintf("secret of %d bytes", len(s)) }

// GoString shows no secret.
func (s Secret) GoString() string { return s.String() }

// LogValue shows no secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Code is an invitation as the new node needs it.
type Code struct {
	Addresses   []string // of cluster ports, host:port, 1 to MaxAddresses
	Fingerprint [32]byte // SHA-256 of the certificate of the cluster CA, DER
	ClusterID   string
	Secret      Secret
}

var errNoCode = errors.New("this is no invitation code: one begins with " + Prefix + " and is one line")

// check refuses what no code has.
func (c *Code) check() error {
	switch {
	case len(c.Addresses) == 0 || len(c.Addresses) > MaxAddresses:
		return fmt.Errorf("an invitation code has 1 to %d addresses", MaxAddresses)
	case c.ClusterID == "" || len(c.ClusterID) > 128:
		return errors.New("an invitation code has the id of a cluster")
	}
	for _, a := range c.Addresses {
		if !directory.ValidNodeAddress(a) {
			return errors.New("an invitation code has addresses such as node-1.example.com:8444")
		}
	}
	return nil
}

// Encode returns the code as text. It is a secret until it is used.
func (c *Code) Encode() (string, error) {
	if err := c.check(); err != nil {
		return "", err
	}
	return Prefix + base64.RawURLEncoding.EncodeToString(c.binary()), nil
}

func (c *Code) binary() []byte {
	b := append(append([]byte{}, c.Secret[:]...), c.Fingerprint[:]...)
	b = lp.Append(b, c.ClusterID)
	b = append(b, byte(len(c.Addresses))) //nolint:gosec // at most MaxAddresses
	for _, a := range c.Addresses {
		b = lp.Append(b, a)
	}
	return append(b, checksum(b)...)
}

func checksum(b []byte) []byte {
	sum := sha256.Sum256(append([]byte(checksumLabel), b...))
	return sum[:checksumBytes]
}

// Parse reads a code. Blanks and line breaks around and in it are left out: mail breaks long lines. Its errors hold nothing of it.
func Parse(text string) (Code, error) {
	if len(text) > maxText {
		return Code{}, errNoCode
	}
	body, found := strings.CutPrefix(strings.Join(strings.Fields(text), ""), Prefix)
	if !found {
		return Code{}, errNoCode
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil || len(raw) < checksumBytes {
		return Code{}, errMistyped
	}
	payload, sum := raw[:len(raw)-checksumBytes], raw[len(raw)-checksumBytes:]
	if !bytes.Equal(checksum(payload), sum) {
		return Code{}, errMistyped
	}
	c, err := parse(payload)
	if err != nil {
		return Code{}, err
	}
	return c, c.check()
}

var errMistyped = errors.New("the invitation code was typed wrongly or cut: copy the whole line again")

// errForm is what a code with a right checksum and wrong content is: nobody types that by accident.
var errForm = errors.New("the invitation code is not one of this version: use the program that the cluster has")

func parse(b []byte) (Code, error) {
	var c Code
	if len(b) < 2*secretBytes {
		return Code{}, errForm
	}
	b = b[copy(c.Secret[:], b):]
	b = b[copy(c.Fingerprint[:], b):]
	id, b, ok := part(b)
	if !ok || len(b) == 0 {
		return Code{}, errForm
	}
	c.ClusterID = id
	n := int(b[0])
	b = b[1:]
	for range n {
		var address string
		if address, b, ok = part(b); !ok {
			return Code{}, errForm
		}
		c.Addresses = append(c.Addresses, address)
	}
	if len(b) > 0 {
		return Code{}, errForm
	}
	return c, nil
}

// part reads what lp.Append wrote.
func part(b []byte) (text string, rest []byte, ok bool) {
	if len(b) < 2 {
		return "", nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b) < 2+n {
		return "", nil, false
	}
	return string(b[2 : 2+n]), b[2+n:], true
}
