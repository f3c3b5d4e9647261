package stream

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
)

// ErrClosed is what a Writer answers after Close.
var ErrClosed = errors.New("stream: the writer is closed")

// Writer seals what is written to it. It holds one segment in memory and writes whole segments only. Goroutines must not
// share it.
type Writer struct {
	w       io.Writer
	aead    cipher.AEAD
	nonce   nonce
	buf     []byte // a segment; the first one has the header before it
	start   int    // where the segment begins in buf
	end     int    // where the plaintext in buf ends, full at most
	full    int    // where the plaintext of a full segment ends, a tag before the end of buf
	segment int64  // the number of the segment in buf
	err     error  // once set, it stays: a number must never be used for two segments
}

// NewWriter returns a Writer that writes a stream to w, under 32 uniformly random bytes of key. The associated data is not
// stored: a reader needs the same. Neither slice is kept. Nothing is written before the first segment is full or Close is
// called. An error is a key of another length or a failure of the cryptographic module.
//
// Without Close the stream is cut, and every reader notices. That is the way to give up: a Close that is deferred would turn
// what was written before a failure into a whole stream.
func NewWriter(w io.Writer, key, associated []byte) (*Writer, error) {
	var random [saltBytes + prefixBytes]byte
	_, _ = rand.Read(random[:]) // never returns an error: crypto/rand documents that it ends the program instead
	return newWriter(w, standard, key, associated, random[:saltBytes], random[saltBytes:])
}

// newWriter is NewWriter with a given layout, salt and prefix. Salt and prefix must not come twice with a key.
func newWriter(w io.Writer, l layout, key, associated, salt, prefix []byte) (*Writer, error) {
	aead, err := newAEAD(key, salt, associated)
	if err != nil {
		return nil, err
	}
	header := make([]byte, 0, HeaderBytes)
	header = append(header, HeaderBytes)
	header = append(header, salt...)
	header = append(header, prefix...)
	return sealTo(w, l, aead, header, prefix), nil
}

func sealTo(w io.Writer, l layout, aead cipher.AEAD, header, prefix []byte) *Writer {
	s := &Writer{w: w, aead: aead, nonce: newNonce(prefix), buf: make([]byte, l.segment), full: int(l.segment) - tagBytes}
	s.start = copy(s.buf, header)
	s.end = s.start
	return s
}

// Write seals p. It returns how much of p was taken, and an error of w, wrapped, ErrTooLong or ErrClosed; after any of them
// the Writer takes no more.
func (s *Writer) Write(p []byte) (int, error) {
	taken := 0
	for s.err == nil && len(p) > 0 {
		// A full segment waits until more comes, because the last one carries the flag.
		room := s.full - s.end
		switch {
		case room == 0:
			s.err = s.seal(s.buf[s.start:s.end], false)
			continue
		case s.end == s.start && len(p) > room: // a whole segment that is not the last: no need to copy it first
			s.err = s.seal(p[:room], false)
			if s.err != nil {
				return taken, s.err
			}
		default:
			room = copy(s.buf[s.end:s.full], p)
			s.end += room
		}
		p = p[room:]
		taken += room
	}
	return taken, s.err
}

// ReadFrom seals what r has until io.EOF. It reads straight into the segment. It returns how much was read, and an error of
// r or w, wrapped, ErrTooLong or ErrClosed; after any of them, one of r too, the Writer takes no more and cannot be closed,
// so that half an input never becomes a whole stream.
func (s *Writer) ReadFrom(r io.Reader) (int64, error) {
	var total int64
	for s.err == nil {
		// One byte more than the segment holds, in the place of its tag, tells whether it is the last.
		n, ended, err := fill(r, s.buf[s.end:s.full+1])
		s.end += n
		total += int64(n)
		if err != nil {
			s.err = fmt.Errorf("stream: read plaintext: %w", err)
			break
		}
		if ended {
			return total, nil
		}
		next := s.buf[s.full]
		s.err = s.seal(s.buf[s.start:s.full], false)
		s.buf[0] = next
		s.end = 1
	}
	return total, s.err
}

// Close writes the last segment, which says that the stream is whole. It does not close w. After a failure it writes nothing
// and returns that failure; a second Close returns ErrClosed.
func (s *Writer) Close() error {
	if s.err != nil {
		return s.err
	}
	if s.err = s.seal(s.buf[s.start:s.end], true); s.err != nil {
		return s.err
	}
	s.err = ErrClosed
	return nil
}

// seal writes a segment and empties the buffer. The plaintext is what stands in the buffer or lies outside it.
func (s *Writer) seal(plaintext []byte, last bool) error {
	if s.segment >= MaxSegments-1 && !last {
		return ErrTooLong // there would be no number for the last one
	}
	sealed := s.aead.Seal(s.buf[:s.start], s.nonce.at(s.segment, last), plaintext, nil)
	s.segment++
	s.start, s.end = 0, 0
	n, err := s.w.Write(sealed)
	if err == nil && n < len(sealed) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("stream: write ciphertext: %w", err)
	}
	return nil
}

// maxIdle is how often in a row an io.Reader may return neither a byte nor an error.
const maxIdle = 100

// fill reads until buf is full or r ends. Unlike io.ReadFull it tells the end of r from an io.ErrUnexpectedEOF that r itself
// returns, which is how net/http reports a body whose connection broke.
func fill(r io.Reader, buf []byte) (n int, ended bool, err error) {
	for idle := 0; n < len(buf); {
		k, err := r.Read(buf[n:])
		n += k
		switch {
		case err == io.EOF:
			return n, n < len(buf), nil
		case err != nil && n < len(buf):
			return n, false, err
		case k > 0:
			idle = 0
		default:
			if idle++; idle == maxIdle {
				return n, false, io.ErrNoProgress
			}
		}
	}
	return n, false, nil
}
