package cluster

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"cryptoserve/engine/lp"
	"cryptoserve/engine/seal"
)

// A sealed stream is
//
//	magic(8) = "cssnap" 0 version(1) || stream id(16 random) || frames
//	frame    = uint32 big-endian length of blob || blob, sealed as package seal says
//
// The associated data of each frame is lp("cryptoserve/snapshot/1") lp(cluster id) stream id uint64(frame number)
// last(1), so that frames cannot be swapped, dropped, repeated, cut off at the end or taken from another stream or
// cluster. The last frame has last = 1 and nothing may follow it.
const (
	streamMagic   = "cssnap\x00\x01"
	streamIDBytes = 16
	// maxFrame bounds what a reader takes into memory: a frame holds about frameBytes and never more than one record
	// above it.
	maxFrame   = 1 << 20
	frameBytes = 64 << 10
)

type frameKey struct {
	key     *seal.Key
	cluster string
}

func (k frameKey) associated(stream []byte, number uint64, last bool) []byte {
	b := lp.Append(lp.Append(nil, "cryptoserve/snapshot/1"), k.cluster)
	b = append(b, stream...)
	b = binary.BigEndian.AppendUint64(b, number)
	if last {
		return append(b, 1)
	}
	return append(b, 0)
}

// frameWriter writes a sealed stream.
type frameWriter struct {
	w      io.Writer
	key    frameKey
	stream []byte
	number uint64
}

func newFrameWriter(w io.Writer, key frameKey) (*frameWriter, error) {
	head := make([]byte, len(streamMagic)+streamIDBytes)
	copy(head, streamMagic)
	_, _ = rand.Read(head[len(streamMagic):]) // never returns an error: crypto/rand documents that it ends the program instead
	if _, err := w.Write(head); err != nil {
		return nil, err
	}
	return &frameWriter{w: w, key: key, stream: head[len(streamMagic):]}, nil
}

// write seals one frame.
func (f *frameWriter) write(plaintext []byte, last bool) error {
	blob, err := f.key.key.Seal(make([]byte, 4, 4+len(plaintext)+seal.Overhead),
		f.key.associated(f.stream, f.number, last), plaintext)
	if err != nil {
		return err
	}
	n := len(blob) - 4
	if n > maxFrame {
		return fmt.Errorf("a frame of %d bytes is too long", n)
	}
	binary.BigEndian.PutUint32(blob, uint32(n)) //nolint:gosec // at most maxFrame
	f.number++
	_, err = f.w.Write(blob)
	return err
}

// frameReader reads a sealed stream.
type frameReader struct {
	r      *bufio.Reader
	key    frameKey
	stream []byte
	number uint64
}

func newFrameReader(r io.Reader, key frameKey) (*frameReader, error) {
	f := &frameReader{r: bufio.NewReader(r), key: key}
	head := make([]byte, len(streamMagic)+streamIDBytes)
	if _, err := io.ReadFull(f.r, head); err != nil {
		return nil, fmt.Errorf("its beginning cannot be read: %w", err)
	}
	if string(head[:len(streamMagic)-1]) != streamMagic[:len(streamMagic)-1] {
		return nil, errors.New("it does not begin as a snapshot")
	}
	if v := head[len(streamMagic)-1]; v != streamMagic[len(streamMagic)-1] {
		return nil, fmt.Errorf("its format is version %d, which this program does not know", v)
	}
	f.stream = head[len(streamMagic):]
	return f, nil
}

// next returns the plaintext of the next frame and whether it is the last.
func (f *frameReader) next() (plaintext []byte, last bool, err error) {
	var n [4]byte
	if _, err := io.ReadFull(f.r, n[:]); err != nil {
		return nil, false, fmt.Errorf("frame %d cannot be read: %w", f.number, err)
	}
	length := binary.BigEndian.Uint32(n[:])
	if length < seal.Overhead || length > maxFrame {
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
	plaintext, err = f.key.key.Open(nil, f.key.associated(f.stream, f.number, last), blob)
	if err != nil {
		return nil, false, fmt.Errorf("frame %d does not open: it was changed, or the snapshot was cut after it", f.number)
	}
	f.number++
	return plaintext, last, nil
}
