package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const (
	markFile  = "mark"
	markMagic = "csmark\x00\x01"
	markBytes = len(markMagic) + 8 + macBytes
)

// mark is the high-water mark of the log, in a file of its own: magic(8) || index(8) || HMAC(32). It holds the index of
// the newest entry that was durable in the log when the mark was written, so the log must reach at least that far. bbolt
// has no checksum over its pages: without the mark, a log whose newest entries became unreachable looks like a log that
// never had them.
//
// Raising the mark is one write to the page cache and is not synced: after a power cut it may be lower than the log, which
// is harmless; it is never higher. Lowering it is synced before the entries go.
type mark struct {
	file *os.File
	key  *macKey
}

// createMark makes the file, whole or not at all.
func createMark(dir string, key *macKey, index uint64) error {
	path := filepath.Join(dir, markFile)
	f, err := os.OpenFile(path+newSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	m := &mark{file: f, key: key}
	if err := errors.Join(m.set(index), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+newSuffix, path)
}

// openMark returns the mark and its index. ok is false when the file is not as this key wrote it.
func openMark(dir string, key *macKey) (m *mark, index uint64, ok bool, err error) {
	f, err := os.OpenFile(filepath.Join(dir, markFile), os.O_RDWR, 0)
	if err != nil {
		return nil, 0, false, err
	}
	b := make([]byte, markBytes+1)
	n, err := f.ReadAt(b, 0)
	if n != markBytes || string(b[:len(markMagic)]) != markMagic {
		if n == 0 && err != nil && !isEOF(err) {
			return nil, 0, false, errors.Join(err, f.Close())
		}
		return &mark{file: f, key: key}, 0, false, nil
	}
	data, ok := key.open("mark", b[len(markMagic):markBytes])
	if !ok {
		return &mark{file: f, key: key}, 0, false, nil
	}
	return &mark{file: f, key: key}, binary.BigEndian.Uint64(data), true, nil
}

func (m *mark) set(index uint64) error {
	b := append([]byte(markMagic), m.key.append("mark", binary.BigEndian.AppendUint64(nil, index))...)
	if _, err := m.file.WriteAt(b, 0); err != nil {
		return fmt.Errorf("write the high-water mark of the log: %w", err)
	}
	return nil
}

// lower sets the mark durably.
func (m *mark) lower(index uint64) error {
	if err := m.set(index); err != nil {
		return err
	}
	if err := m.file.Sync(); err != nil {
		return fmt.Errorf("sync the high-water mark of the log: %w", err)
	}
	return nil
}

func (m *mark) close() error { return errors.Join(m.file.Sync(), m.file.Close()) }
