package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// inputBytes is the most that one request can carry: the server's limit of a JSON body.
const inputBytes = 16 << 20

// input reads the whole input: the file that args names, or standard input for "-" and for no name.
func (a *app) input(ctx context.Context, args []string) ([]byte, error) {
	if len(args) == 0 || args[0] == "-" {
		data, err := interruptible(ctx, a.stdin, inputBytes+1)
		if err == nil && len(data) > inputBytes {
			err = tooMuch(inputBytes)
		}
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return data, nil
	}
	data, err := readFile(args[0], inputBytes)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", args[0], err)
	}
	return data, nil
}

// sink is where a result goes. Nothing can be seen there before Commit, and nothing is left of it without.
type sink interface {
	io.Writer
	Commit() error
	// Discard drops what was written. After Commit it does nothing.
	Discard()
}

// openSink prepares the output before the server is asked, so that a folder that cannot be written to is found first.
// An empty name is standard output.
func (a *app) openSink(name string) (sink, error) {
	if name == "" {
		return &streamSink{out: a.stdout}, nil
	}
	return newFileSink(name)
}

// heldBytes is how much of a result is held back until it is whole, on its way to standard output.
const heldBytes = 8 << 20

// streamSink hands a result to a stream: in one piece at Commit, or as it comes once there is too much to hold.
type streamSink struct {
	out   io.Writer
	data  []byte
	began bool // something of it can be seen
}

func (s *streamSink) Write(p []byte) (int, error) {
	if !s.began && len(s.data)+len(p) <= heldBytes {
		s.data = append(s.data, p...)
		return len(p), nil
	}
	if err := s.flush(); err != nil {
		return 0, err
	}
	return s.out.Write(p)
}

func (s *streamSink) flush() error {
	if len(s.data) == 0 && s.began {
		return nil
	}
	s.began = true
	_, err := s.out.Write(s.data)
	clear(s.data)
	s.data = nil
	return err
}

func (s *streamSink) Commit() error {
	if err := s.flush(); err != nil {
		return fmt.Errorf("write the result: %w", withoutPath(err))
	}
	return nil
}

func (s *streamSink) Discard() {
	clear(s.data)
	s.data = nil
}

// fileSink writes a new file with mode 0600 beside the old one and puts it in its place in one step.
type fileSink struct {
	name string
	temp *os.File // nil after Commit or Discard
}

func newFileSink(name string) (*fileSink, error) {
	info, err := os.Stat(name)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return nil, &hintError{
			err:  fmt.Errorf("write %s: it is not a regular file", name),
			hint: "name a file, or leave --out away and redirect standard output",
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("write %s: %w", name, withoutPath(err))
	}
	temp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // with mode 0600
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, withoutPath(err))
	}
	return &fileSink{name: name, temp: temp}, nil
}

func (s *fileSink) Write(p []byte) (int, error) { return s.temp.Write(p) }

// Commit makes the content durable, then its name.
func (s *fileSink) Commit() error {
	err := s.temp.Sync()
	if closeErr := s.temp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(s.temp.Name(), s.name)
	}
	if err != nil {
		_ = os.Remove(s.temp.Name()) // the first error is the one to tell
		s.temp = nil
		return fmt.Errorf("write %s: %w", s.name, withoutPath(err))
	}
	s.temp = nil
	folder, err := os.Open(filepath.Dir(s.name))
	if err != nil {
		return fmt.Errorf("sync the folder of %s: %w", s.name, withoutPath(err))
	}
	err = folder.Sync()
	_ = folder.Close() // only read
	if err != nil {
		return fmt.Errorf("sync the folder of %s: %w", s.name, withoutPath(err))
	}
	return nil
}

func (s *fileSink) Discard() {
	if s.temp == nil {
		return
	}
	_ = s.temp.Close() // the file goes away
	_ = os.Remove(s.temp.Name())
	s.temp = nil
}
