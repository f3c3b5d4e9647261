package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
)

// material is an input of any size, of which the beginning has been read.
type material struct {
	head  []byte   // the beginning, all of it when whole
	whole bool     //
	file  *os.File // when it can be read from its beginning again
	rest  io.Reader
	size  int64 // -1 when it is not known
}

// headBytes is what is read of a file before it is known what it is.
const headBytes = 64

// open opens the file that args names, or standard input for "-" and for no name, and reads it into memory if it has at
// most limit bytes. A pipe is read up to the limit.
func (a *app) open(ctx context.Context, args []string, limit int64) (*material, error) {
	if len(args) == 0 || args[0] == "-" {
		head, err := interruptible(ctx, a.stdin, limit+1)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		m := &material{head: head, whole: int64(len(head)) <= limit, rest: a.stdin, size: -1}
		if m.whole {
			m.size = int64(len(head))
		}
		return m, nil
	}
	f, err := os.Open(args[0])
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", args[0], withoutPath(err))
	}
	m, err := openFile(ctx, f, limit)
	if err != nil {
		_ = f.Close() // only read
		return nil, fmt.Errorf("read %s: %w", args[0], err)
	}
	return m, nil
}

func openFile(ctx context.Context, f *os.File, limit int64) (*material, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, withoutPath(err)
	}
	m := &material{size: -1, rest: f}
	read := limit + 1
	if info.Mode().IsRegular() && info.Size() > limit {
		m.file, m.size, read = f, info.Size(), headBytes
	}
	if m.head, err = interruptible(ctx, f, read); err != nil {
		return nil, err
	}
	if m.file == nil && int64(len(m.head)) <= limit {
		m.whole, m.size = true, int64(len(m.head))
		_ = f.Close() // only read
	}
	return m, nil
}

// reader gives all of the material from its beginning, as something that can go back if the material can.
func (m *material) reader() (io.Reader, error) {
	switch {
	case m.whole:
		return bytes.NewReader(m.head), nil
	case m.file != nil:
		_, err := m.file.Seek(0, io.SeekStart)
		return m.file, withoutPath(err)
	default:
		return io.MultiReader(bytes.NewReader(m.head), m.rest), nil
	}
}

func (m *material) close() {
	if m.file != nil {
		_ = m.file.Close() // only read
	}
}

// interruptible reads at most limit bytes. It can wait for ever, so an interrupt must end it: the caller has things to clean
// up.
func interruptible(ctx context.Context, r io.Reader, limit int64) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := io.ReadAll(io.LimitReader(r, limit))
		done <- result{data, withoutPath(err)}
	}()
	select {
	case r := <-done:
		return r.data, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
