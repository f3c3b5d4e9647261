package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Target is a place where backups are kept, a Directory or an S3. Names are those of FileName, and every other name is an
// error. Goroutines may share it, and several nodes one place.
//
// Errors that all give: ErrNotFound, ErrExists, ErrNoTarget, ErrCredentials, ErrFull, each with what to do next, an error
// of the reader as it is, or what the system said.
type Target interface {
	// Put stores what r gives under a name that is free. Under that name there is nothing or all of it, whatever fails, and
	// all of it is durable when Put returns without error. An error of r, io.ErrUnexpectedEOF too, is never taken for its end.
	Put(ctx context.Context, name string, r io.Reader) error
	// Get returns a reader of a backup, which the caller closes. It obeys ctx until then.
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	// List returns all backups in order of name, which is that of time. Other files are not mentioned.
	List(ctx context.Context) ([]Item, error)
	// Delete removes a backup. ErrNotFound when there is none of this name.
	Delete(ctx context.Context, name string) error
	// String names the place for people, without secrets.
	String() string
}

// Item is a backup in a target, by what the target says of it.
type Item struct {
	Name     string
	Bytes    int64
	Modified time.Time
}

var (
	// ErrNotFound is a name under which there is no backup.
	ErrNotFound = errors.New("there is no such backup")
	// ErrExists is a name that is taken: no backup replaces another one.
	ErrExists = errors.New("there is a backup of this name already")
	// ErrNoTarget is a directory or bucket that does not exist.
	ErrNoTarget = errors.New("the place for backups does not exist")
	// ErrCredentials is a target that does not let this node in.
	ErrCredentials = errors.New("the place for backups refuses this node")
	// ErrFull is a target without space.
	ErrFull = errors.New("the place for backups is full")
)

// checkName refuses names that no backup has, and with them paths that lead elsewhere.
func checkName(name string) error {
	if IDOf(name) == "" {
		return fmt.Errorf("%w: a name is backup_<time>_<16 hex>%s", ErrNotFound, Extension)
	}
	return nil
}

// source is a reader that ends when its context does, and whose errors no library mistakes for its end.
type source struct {
	ctx  context.Context // lives as long as one call
	r    io.Reader
	read int64
}

// sourceError is an error of a source, hidden from errors.Is(err, io.ErrUnexpectedEOF) of a library that compares with ==.
type sourceError struct{ err error }

func (e sourceError) Error() string { return "read what is to be stored: " + e.err.Error() }
func (e sourceError) Unwrap() error { return e.err }

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, sourceError{err}
	}
	n, err := s.r.Read(p)
	s.read += int64(n)
	if err != nil && err != io.EOF { // a wrapped io.EOF is no end, but how a failure shows
		err = sourceError{err}
	}
	return n, err
}

func byName(a, b Item) int { return cmp.Compare(a.Name, b.Name) }

func sorted(items []Item) []Item {
	slices.SortFunc(items, byName)
	return items
}
