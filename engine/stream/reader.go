package stream

import (
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"math"
)

// Reader opens a stream or a range of one. It holds one segment in memory and releases authenticated plaintext only.
// Goroutines must not share it.
type Reader struct {
	src      io.Reader // stands at the segment
	layout   layout
	aead     cipher.AEAD
	nonce    nonce
	buf      []byte // a segment and one byte, which tells whether another follows
	ahead    bool   // next has been read
	next     byte   // the first byte of the segment
	segment  int64  // the number of the segment to read
	count    int64  // how many segments there are, -1 when that is not known
	lastSize int64  // if it is, the length of the last
	first    int64  // the segment where the range begins; those before it are not opened
	from, to int64  // the range of plaintext
	rest     []byte // what Read has not handed out yet
	err      error  // once set, it stays; io.EOF at the end
}

// NewReader reads the header of a stream from r and returns a Reader of the whole stream. Neither key (32 bytes) nor
// associated data is kept. Errors: ErrDamaged, an error of r, wrapped, a key of another length, or a failure of the
// cryptographic module.
//
// A Reader reads one byte beyond a segment before it releases it, to learn whether it is the last, and nothing beyond the
// end of r.
func NewReader(r io.Reader, key, associated []byte) (*Reader, error) {
	return newReader(r, standard, -1, key, associated, 0, math.MaxInt64)
}

// NewRangeReader is NewReader for the bytes [from, to) of the plaintext. It reads r from the beginning and skips what lies
// before the range without opening it; it stops behind the segment in which the range ends. length is the length of the
// stream in bytes, negative when it is not known; a stream that turns out to have another length is damaged.
//
// A range may end behind the plaintext and then ends with it. One that begins behind it is ErrRange, here or from the
// first read. An empty range is authenticated like the byte at its place, so that a wrong key never looks like success.
//
// Every released byte is authentic and at its place. If the range reaches the last segment, that one must authenticate as
// the last; if not, the stream may have been cut or changed anywhere behind the segment where the range ends.
func NewRangeReader(r io.Reader, length int64, key, associated []byte, from, to int64) (*Reader, error) {
	return newReader(r, standard, length, key, associated, from, to)
}

// NewRangeReaderAt is NewRangeReader for a source with random access, of which it reads the header and the segments of the
// range only. The stream begins at offset 0 of r, and length says where it ends, so it must be known; what r holds behind it
// is not looked at. Use io.NewSectionReader for a stream that begins elsewhere.
func NewRangeReaderAt(r io.ReaderAt, length int64, key, associated []byte, from, to int64) (*Reader, error) {
	return newReaderAt(r, standard, length, key, associated, from, to)
}

func newReader(src io.Reader, l layout, length int64, key, associated []byte, from, to int64) (*Reader, error) {
	if from < 0 || to < from {
		return nil, ErrRange
	}
	count, lastSize := int64(-1), int64(0)
	if length >= 0 {
		var err error
		if count, err = l.segments(length); err != nil {
			return nil, err
		}
		lastSize = length - (count-1)*l.segment
		if count == 1 {
			lastSize -= l.header
		}
	}
	var header [HeaderBytes]byte
	_, ended, err := fill(src, header[:])
	if err != nil {
		return nil, broken("read ciphertext", err)
	}
	if ended || header[0] != HeaderBytes {
		return nil, ErrDamaged
	}
	salt, prefix := header[1:1+saltBytes], header[1+saltBytes:]
	aead, err := newAEAD(key, salt, associated)
	if err != nil {
		return nil, err
	}
	o := openFrom(src, l, aead, prefix)
	o.count, o.lastSize = count, lastSize
	o.first, o.from, o.to = l.index(from), from, to
	return o, nil
}

func newReaderAt(r io.ReaderAt, l layout, length int64, key, associated []byte, from, to int64) (*Reader, error) {
	if length < 0 {
		return nil, errors.New("stream: random access needs the length of the stream")
	}
	src := io.NewSectionReader(r, 0, length)
	o, err := newReader(src, l, length, key, associated, from, to)
	if err != nil {
		return nil, err
	}
	// Behind the end there is only the last segment to open: it proves where the end is.
	if o.segment = min(o.first, o.count-1); o.segment > 0 {
		if _, err := src.Seek(o.segment*l.segment, io.SeekStart); err != nil {
			return nil, broken("read ciphertext", err)
		}
	}
	return o, nil
}

// openFrom returns a Reader of everything in src, which stands behind the header.
func openFrom(src io.Reader, l layout, aead cipher.AEAD, prefix []byte) *Reader {
	return &Reader{src: src, layout: l, aead: aead, nonce: newNonce(prefix), buf: make([]byte, l.segment+1), count: -1, to: math.MaxInt64}
}

// Next returns the plaintext of the next segment, or the part of it that is in the range, never empty. It is valid until the
// next call of any method. io.EOF means that everything was released and, if the range reaches the end of the stream, that
// the end is authentic. Other errors: ErrDamaged, ErrRange, or an error of the source, wrapped (io.ErrUnexpectedEOF
// in place of one that wraps io.EOF); they stay.
func (o *Reader) Next() ([]byte, error) {
	p := o.rest
	o.rest = nil
	for len(p) == 0 {
		if o.err != nil {
			return nil, o.err
		}
		p, o.err = o.open()
	}
	return p, nil
}

// Done reports whether what Next returned last was the end of the range, authenticated: the next call returns io.EOF.
func (o *Reader) Done() bool { return errors.Is(o.err, io.EOF) && len(o.rest) == 0 }

// Read is Next for callers that bring the memory. It implements io.Reader.
func (o *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	segment, err := o.Next()
	if err != nil {
		return 0, err
	}
	n := copy(p, segment)
	o.rest = segment[n:]
	return n, nil
}

// WriteTo writes all of the range to w, a segment at a time and without copying. It returns how much was written, and an
// error of Next or of w, wrapped. After an error of w nothing more can be read.
func (o *Reader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		p, err := o.Next()
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		n, err := w.Write(p)
		total += int64(n)
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		if err != nil {
			o.err = broken("write plaintext", err)
			return total, o.err
		}
	}
}

// open returns what the range has of the next segment: nothing of one before it, and io.EOF with the last one.
func (o *Reader) open() ([]byte, error) {
	number := o.segment
	sealed, last, err := o.read()
	if err != nil {
		return nil, err
	}
	if number < o.first && !last {
		return nil, nil
	}
	if last && number > 0 && len(sealed) <= tagBytes {
		return nil, ErrDamaged // an empty last segment, which no writer makes
	}
	plaintext, err := o.aead.Open(sealed[:0], o.nonce.at(number, last), sealed, nil)
	if err != nil {
		return nil, ErrDamaged
	}
	start := o.layout.start(number)
	end := start + int64(len(plaintext))
	if last && o.from > end {
		return nil, ErrRange
	}
	if last || o.to <= end {
		err = io.EOF
	}
	low, high := max(o.from, start), min(o.to, end)
	if low >= high {
		return nil, err
	}
	return plaintext[low-start : high-start], err
}

// read returns the ciphertext of the next segment, which stands in the buffer, and whether it is the last.
func (o *Reader) read() (sealed []byte, last bool, err error) {
	if o.segment >= MaxSegments {
		return nil, false, ErrDamaged
	}
	size := o.layout.segment
	if o.segment == 0 {
		size -= o.layout.header
	}
	buf := o.buf[:size+1]
	inner := o.segment < o.count-1 // known not to be the last
	if inner {
		buf = buf[:size]
	}
	have := 0
	if o.ahead {
		o.buf[0] = o.next
		have = 1
	}
	n, ended, err := fill(o.src, buf[have:])
	if err != nil {
		return nil, false, broken("read ciphertext", err)
	}
	n += have
	o.segment++
	switch {
	case inner:
		if ended {
			return nil, false, ErrDamaged
		}
		return buf, false, nil
	case o.count >= 0 && int64(n) != o.lastSize: // cut, or more than a last segment
		return nil, false, ErrDamaged
	case ended:
		return buf[:n], true, nil
	}
	o.ahead, o.next = true, buf[size]
	return buf[:size], false, nil
}

// broken wraps an error of a source or sink. One that wraps io.EOF becomes io.ErrUnexpectedEOF, because for who reads with
// errors.Is nothing but the authentic end may be io.EOF.
func broken(what string, err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("stream: %s: %w (%v)", what, io.ErrUnexpectedEOF, err) //nolint:errorlint // the end of something else
	}
	return fmt.Errorf("stream: %s: %w", what, err)
}
