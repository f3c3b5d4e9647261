package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"cryptoserve/engine/seal"
	"cryptoserve/engine/secret"
)

// frameBytes is how much of the body a frame holds.
const frameBytes = 64 << 10

// Write writes a backup to w, in constant memory: body writes what is backed up to its argument. Key is 32 uniformly random
// bytes. It returns the manifest with all that was found while writing. When it fails, what stands in w is no backup.
func Write(w io.Writer, key secret.Bytes, m Manifest, body func(io.Writer) error) (Manifest, error) {
	written, err := write(w, key, m, body)
	if err != nil {
		return Manifest{}, fmt.Errorf("backup: write: %w", err)
	}
	return written, nil
}

func write(w io.Writer, key secret.Bytes, m Manifest, body func(io.Writer) error) (Manifest, error) {
	k, check, err := sealKey(key)
	if err != nil {
		return m, err
	}
	m.Format, m.KeyCheck, m.Authentic = Format, check, true
	head, err := m.encode()
	if err != nil {
		return m, err
	}
	sealed, err := k.Seal(nil, manifestData(head), nil)
	if err != nil {
		return m, err
	}
	out := &counter{w: w, hash: sha256.New()}
	if _, err := out.Write(append(bytes.Clone(head), sealed...)); err != nil {
		return m, err
	}
	frames, err := seal.NewFrameWriter(out, k, bodyData(head, sealed))
	if err != nil {
		return m, err
	}
	b := &bodyWriter{frames: frames, buffer: make([]byte, 0, frameBytes)}
	if err := body(b); err != nil {
		return m, err
	}
	if err := frames.Write(b.buffer, true); err != nil {
		return m, err
	}
	m.Bytes, m.SHA256 = out.n, out.hash.Sum(nil)
	_, err = w.Write(append(binary.BigEndian.AppendUint64(nil, uint64(m.Bytes)), m.SHA256...)) //nolint:gosec // a length
	return m, err
}

// bodyWriter cuts what is written into frames. The last one is written by who closes the body.
type bodyWriter struct {
	frames *seal.FrameWriter
	buffer []byte
}

func (b *bodyWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		if len(b.buffer) == frameBytes {
			if err := b.frames.Write(b.buffer, false); err != nil {
				return n, err
			}
			b.buffer = b.buffer[:0]
		}
		part := p[:min(len(p), frameBytes-len(b.buffer))]
		b.buffer = append(b.buffer, part...)
		n, p = n+len(part), p[len(part):]
	}
	return n, nil
}

type counter struct {
	w    io.Writer
	hash hash.Hash
	n    int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.hash.Write(p[:n])
	c.n += int64(n)
	return n, err
}

// Reader gives the body of a backup. What it gives was authenticated, and io.EOF comes only when the file is whole. Whoever
// must not act on a part waits for it. Goroutines must not share it.
type Reader struct {
	source *held
	frames *seal.FrameReader
	rest   []byte
	last   bool
	err    error
}

// Open reads the beginning of a backup from r and returns its manifest, proved under the key, and its body. The key must
// not be destroyed before the body was read.
//
// Errors, here and from the Reader: ErrNotBackup, ErrNewer, ErrWrongKey, ErrDamaged, each with what to do next, or an error
// of r.
func Open(r io.Reader, key secret.Bytes) (Manifest, *Reader, error) {
	m, body, err := open(r, key)
	if err != nil {
		return Manifest{}, nil, fmt.Errorf("backup: open: %w", err)
	}
	return m, body, nil
}

func open(r io.Reader, key secret.Bytes) (Manifest, *Reader, error) {
	k, check, err := sealKey(key)
	if err != nil {
		return Manifest{}, nil, err
	}
	source := newHeld(r)
	m, head, err := readHead(source)
	if err != nil {
		return m, nil, source.why(err)
	}
	sealed := make([]byte, seal.Overhead)
	if _, err := io.ReadFull(source, sealed); err != nil {
		return m, nil, source.why(broken("its seal", err))
	}
	_, err = k.Open(nil, manifestData(head), sealed)
	switch {
	case errors.Is(err, seal.ErrDamaged) && !bytes.Equal(check, m.KeyCheck):
		return m, nil, fmt.Errorf("%w (or its manifest was changed): it names cluster %s and a master key with the check value %s; "+
			"use a token that holds this master key", ErrWrongKey, m.Cluster, m.MasterKCV)
	case errors.Is(err, seal.ErrDamaged):
		return m, nil, damaged("its manifest or the seal of it was changed")
	case err != nil:
		return m, nil, err
	}
	m.Authentic = true
	frames, err := seal.NewFrameReader(source, k, bodyData(head, sealed))
	if err != nil {
		return m, nil, source.why(broken("its body", err))
	}
	return m, &Reader{source: source, frames: frames}, nil
}

// Read implements io.Reader.
func (b *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(b.rest) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		if b.rest, b.err = b.next(); b.err != nil && !errors.Is(b.err, io.EOF) {
			b.err = fmt.Errorf("backup: read: %w", b.err)
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *Reader) next() ([]byte, error) {
	if b.last {
		return nil, io.EOF
	}
	plaintext, last, err := b.frames.Next()
	if err != nil {
		return nil, b.source.why(damaged("of its body, " + frameDetail(err)))
	}
	if last {
		b.last = true
		if err := b.source.checkTrailer(); err != nil {
			return nil, err
		}
	}
	return plaintext, nil
}

// frameDetail is what package seal says of a frame, without the sentinel at its end.
func frameDetail(err error) string {
	return strings.TrimSuffix(err.Error(), ": "+seal.ErrDamaged.Error())
}

// Check reads a whole file without a key and returns its manifest with length and SHA-256. It finds a copy that was cut or
// damaged by accident; it proves nothing against whoever wrote the file. Errors are those of Open but ErrWrongKey.
func Check(r io.Reader) (Manifest, error) {
	source := newHeld(r)
	m, _, err := readHead(source)
	if err == nil {
		_, err = io.Copy(io.Discard, source)
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("backup: check: %w", source.why(err))
	}
	if err := source.checkTrailer(); err != nil {
		return Manifest{}, fmt.Errorf("backup: check: %w", err)
	}
	m.Bytes, m.SHA256 = source.n, source.hash.Sum(nil)
	return m, nil
}

// held reads a source but for its last bytes, the trailer, and hashes what it reads.
type held struct {
	r       *bufio.Reader
	hash    hash.Hash
	n       int64
	trailer []byte
	err     error // of the source, io.EOF at its end
}

func newHeld(r io.Reader) *held {
	return &held{r: bufio.NewReaderSize(r, frameBytes), hash: sha256.New()}
}

// Read implements io.Reader.
func (h *held) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if h.err != nil && h.trailer != nil {
		return 0, h.err
	}
	ahead, err := h.r.Peek(min(len(p)+trailerBytes, frameBytes))
	n := len(ahead) - trailerBytes
	if n <= 0 && err != nil {
		h.err, h.trailer = err, bytes.Clone(ahead)
		return 0, err
	}
	n = copy(p, ahead[:n])
	h.hash.Write(p[:n])
	h.n += int64(n)
	_, err = h.r.Discard(n)
	return n, err
}

// why returns the error of the source when there was one, err otherwise. A file that is shorter than a trailer looks empty
// from above.
func (h *held) why(err error) error {
	switch {
	case h.err != nil && !errors.Is(h.err, io.EOF):
		return h.err
	case h.n > 0 || len(h.trailer) == 0:
		return err
	case strings.HasPrefix(string(h.trailer), magic) || strings.HasPrefix(magic, string(h.trailer)):
		return damaged("it was cut: hardly its beginning is there")
	}
	return ErrNotBackup
}

// checkTrailer compares what was read with the trailer. The source must have been read to its end.
func (h *held) checkTrailer() error {
	if len(h.trailer) != trailerBytes {
		return damaged("it was cut: its trailer is not whole")
	}
	if binary.BigEndian.Uint64(h.trailer) != uint64(h.n) { //nolint:gosec // a length
		return damaged(fmt.Sprintf("its trailer tells of %d bytes and %d are there: it was cut or extended",
			binary.BigEndian.Uint64(h.trailer), h.n))
	}
	if !bytes.Equal(h.trailer[8:], h.hash.Sum(nil)) {
		return damaged("its content does not fit the SHA-256 in its trailer")
	}
	return nil
}
