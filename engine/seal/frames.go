package seal

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A stream of frames is
//
//	stream id (16, random) || frames
//	frame = uint32 big-endian length of blob || blob, sealed as the package comment says
//
// The associated data of a frame is that of the stream || stream id || uint64(frame number) || last(1), so that frames
// cannot be swapped, dropped, repeated, cut off at the end or taken from another stream. The last frame has last = 1 and
// nothing may follow it.
const (
	// StreamIDBytes is how long the beginning of a stream is, before its first frame.
	StreamIDBytes = 16
	// MaxFrame bounds the blob of a frame, and what a reader takes into memory.
	MaxFrame = 1 << 20

	frameLengthBytes = 4
)

// frames is what both sides of a stream know.
type frames struct {
	key        *Key
	associated []byte
	id         []byte
	number     uint64
}

func (f *frames) data(last bool) []byte {
	b := make([]byte, 0, len(f.associated)+len(f.id)+8+1)
	b = append(append(b, f.associated...), f.id...)
	b = binary.BigEndian.AppendUint64(b, f.number)
	if last {
		return append(b, 1)
	}
	return append(b, 0)
}

// FrameWriter writes a stream of frames. Goroutines must not share it.
type FrameWriter struct {
	w io.Writer
	frames
}

// NewFrameWriter writes the beginning of a stream. The associated data must say what the stream is for, and be the same
// for the reader; it is not stored.
func NewFrameWriter(w io.Writer, key *Key, associated []byte) (*FrameWriter, error) {
	id := make([]byte, StreamIDBytes)
	_, _ = rand.Read(id) // never returns an error: crypto/rand documents that it ends the program instead
	if _, err := w.Write(id); err != nil {
		return nil, err
	}
	return &FrameWriter{w, frames{key: key, associated: associated, id: id}}, nil
}

// Write seals one frame. After the last one nothing may be written.
func (f *FrameWriter) Write(plaintext []byte, last bool) error {
	if n := len(plaintext) + Overhead; n > MaxFrame {
		return fmt.Errorf("a frame of %d bytes is too long", n)
	}
	blob, err := f.key.Seal(make([]byte, frameLengthBytes, frameLengthBytes+len(plaintext)+Overhead), f.data(last), plaintext)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint32(blob, uint32(len(blob)-frameLengthBytes)) //nolint:gosec // at most MaxFrame
	f.number++
	_, err = f.w.Write(blob)
	return err
}

// FrameReader reads a stream of frames. Goroutines must not share it.
type FrameReader struct {
	r *bufio.Reader
	frames
}

// NewFrameReader reads the beginning of a stream. The stream ends where r ends.
func NewFrameReader(r io.Reader, key *Key, associated []byte) (*FrameReader, error) {
	id := make([]byte, StreamIDBytes)
	if _, err := io.ReadFull(r, id); err != nil {
		return nil, fmt.Errorf("its beginning cannot be read: %w", err)
	}
	return &FrameReader{bufio.NewReader(r), frames{key: key, associated: associated, id: id}}, nil
}

// Number returns how many frames were read.
func (f *FrameReader) Number() uint64 { return f.number }

// Next returns the plaintext of the next frame and whether it is the last. An error names the frame; it wraps an error of
// the reader below, io.EOF or io.ErrUnexpectedEOF where the stream was cut, and ErrDamaged for a frame that does not open.
func (f *FrameReader) Next() (plaintext []byte, last bool, err error) {
	var n [frameLengthBytes]byte
	if _, err := io.ReadFull(f.r, n[:]); err != nil {
		return nil, false, fmt.Errorf("frame %d cannot be read: %w", f.number, err)
	}
	length := binary.BigEndian.Uint32(n[:])
	if length < Overhead || length > MaxFrame {
		return nil, false, fmt.Errorf("frame %d has the impossible length %d", f.number, length)
	}
	blob := make([]byte, length)
	if _, err := io.ReadFull(f.r, blob); err != nil {
		return nil, false, fmt.Errorf("frame %d cannot be read: %w", f.number, err)
	}
	// Whether a frame is the last shows by what follows it; the associated data then proves it.
	_, err = f.r.Peek(1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, fmt.Errorf("what follows frame %d cannot be read: %w", f.number, err)
	}
	last = err != nil
	plaintext, err = f.key.Open(nil, f.data(last), blob)
	if err != nil {
		return nil, false, fmt.Errorf("frame %d does not open: it was changed or belongs elsewhere, or the stream was cut after it: %w",
			f.number, err)
	}
	f.number++
	return plaintext, last, nil
}
