package envelope

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"cryptoserve/engine/algs"
)

// Sizes in bytes.
const (
	MaxHeader       = 4096
	MaxEncapsulated = 16384 // of a KEM ciphertext
	SegmentBytes    = 65536 // of a stream: the one value that "seg" has
	SaltBytes       = 32
	CommitmentBytes = 32
	NonceBytes      = 12
	TagBytes        = 16

	maxNonce = 16
)

// ErrFrame means that the bytes are not a frame that this package or the original writes.
var ErrFrame = errors.New("envelope: not a ciphertext frame")

// Frame is a parsed frame. Its slices point into the bytes it was parsed from. What the header says is a claim of whoever
// sent the frame, until Open has succeeded; in formats 1 to 3 it stays one.
type Frame struct {
	Format     int    // 1 to 4
	Context    string // empty in a hybrid frame of the original, which names none
	KeyID      string
	Algorithm  algs.Name
	Mode       string // formats 2 and 3, and the original's hybrid frames, which have their algorithm there
	HasAAD     bool   // format 3: associated data was used
	Salt       [SaltBytes]byte
	Commitment [CommitmentBytes]byte
	// OriginalHybrid frames have format 1 and an encapsulated key; only OpenImported opens them.
	OriginalHybrid bool
	// Encapsulated is the KEM ciphertext of a hybrid frame. It is nil in what ParseHeader and ReadHeader return.
	Encapsulated []byte
	// Stream frames are opened segment by segment under StreamKey.
	Stream bool

	layout       *layout4 // format 4: how the body is protected, nil if by nothing that is written
	scheme       *scheme  // formats 1 to 3, but for hybrids: the same
	encapsulated int      // length of the KEM ciphertext, 0 for none
	nonceBuf     [maxNonce]byte
	nonceBytes   int
	prefix       []byte // header length || header
	body         []byte // what follows the KEM ciphertext
}

// Parse reads a whole frame. Any bytes that no writer produces are ErrFrame.
func Parse(b []byte) (Frame, error) {
	f, rest, err := ParseHeader(b)
	if err != nil {
		return Frame{}, err
	}
	if err := f.Attach(rest); err != nil {
		return Frame{}, err
	}
	return f, nil
}

// ParseHeader reads the prefix of a frame at the beginning of b and returns what follows it. The frame does not open before
// Attach has given it its body.
func ParseHeader(b []byte) (f Frame, rest []byte, err error) {
	if len(b) < 2 {
		return Frame{}, nil, ErrFrame
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > MaxHeader || len(b) < 2+n {
		return Frame{}, nil, ErrFrame
	}
	f.prefix = b[: 2+n : 2+n]
	if err := f.parseHeader(); err != nil {
		return Frame{}, nil, err
	}
	return f, b[2+n:], nil
}

// ReadHeader reads the prefix of a frame from r and not a byte more, so that r continues with the body. It takes MaxHeader+2
// bytes at most. A reader that ends too early is ErrFrame; its other errors come back wrapped.
func ReadHeader(r io.Reader) (Frame, error) {
	var f Frame
	var length [2]byte
	if err := readFull(r, length[:]); err != nil {
		return Frame{}, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > MaxHeader {
		return Frame{}, ErrFrame
	}
	f.prefix = make([]byte, 2+n)
	copy(f.prefix, length[:])
	if err := readFull(r, f.prefix[2:]); err != nil {
		return Frame{}, err
	}
	if err := f.parseHeader(); err != nil {
		return Frame{}, err
	}
	return f, nil
}

func readFull(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrFrame
	}
	if err != nil {
		return fmt.Errorf("envelope: read the header: %w", err)
	}
	return nil
}

// Attach gives a frame of ParseHeader or ReadHeader everything that follows its header. A body that is too short for any
// algorithm is ErrFrame.
func (f *Frame) Attach(body []byte) error {
	least := f.encapsulated + TagBytes
	switch {
	case f.Stream:
		least = 0
	case f.Format == 4:
		least += NonceBytes
	}
	if len(body) < least {
		return ErrFrame
	}
	f.Encapsulated, f.body = nil, body[f.encapsulated:]
	if f.encapsulated > 0 {
		f.Encapsulated = body[:f.encapsulated:f.encapsulated]
	}
	return nil
}

// Prefix returns header length || header, which comes first in the associated data of format 4. The caller must not change
// it.
func (f *Frame) Prefix() []byte { return f.prefix }

// LegacyKeyBytes returns the length of the original's data key for the frame: 16, 24, 32 or 64. For a hybrid frame it is that
// of the KEM's secret. A frame that the original never wrote has 32, so that a key can be derived for it that fails.
func (f *Frame) LegacyKeyBytes() int {
	if s := f.scheme; s != nil {
		return s.dek
	}
	return KeyBytes
}

func (f *Frame) nonce() []byte { return f.nonceBuf[:f.nonceBytes] }
