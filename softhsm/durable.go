package softhsm

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	// tokenObject is the file of a token that opens all its others. SoftHSM2 empties and rewrites it at every login.
	tokenObject = "token.object"
	copiesName  = "copies"
)

// Sync makes everything in the store durable. SoftHSM2 never does: it leaves its files to the page cache, and a power cut
// can leave empty ones behind. Call it after objects were made and after each login, before anything depends on them. It
// also keeps a copy of what each login rewrites, which Open puts back if a power cut comes in the middle of that.
func (s *Store) Sync() error {
	err := filepath.WalkDir(s.Tokens(), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncPath(path)
	})
	if err == nil {
		err = s.eachToken(keepCopy)
	}
	if err := errors.Join(err, syncPath(s.dir)); err != nil {
		return fmt.Errorf("sync SoftHSM2 store: %w", err)
	}
	return nil
}

// heal puts back the copies of files that a power cut left empty, and returns the paths that it mended.
func (s *Store) heal() (mended []string, err error) {
	err = s.eachToken(func(object, kept string) error {
		info, err := os.Stat(object)
		if err != nil || info.Size() > 0 {
			return err
		}
		raw, err := os.ReadFile(kept)
		if errors.Is(err, fs.ErrNotExist) || len(raw) == 0 && err == nil {
			return nil // no copy: SoftHSM2 will say that the token is gone
		}
		if err == nil {
			err = replace(object, raw)
		}
		if err == nil {
			mended = append(mended, object)
		}
		return err
	})
	return mended, err
}

// eachToken calls f with the path of each token's object and of its copy.
func (s *Store) eachToken(f func(object, kept string) error) error {
	tokens, err := os.ReadDir(s.Tokens())
	if err != nil {
		return err
	}
	for _, t := range tokens {
		object := filepath.Join(s.Tokens(), t.Name(), tokenObject)
		if _, err := os.Stat(object); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := f(object, filepath.Join(s.dir, copiesName, t.Name()+"."+tokenObject)); err != nil {
			return err
		}
	}
	return nil
}

func keepCopy(object, kept string) error {
	raw, err := os.ReadFile(object)
	if err != nil || len(raw) == 0 {
		return err // an empty one is never worth keeping
	}
	if old, err := os.ReadFile(kept); err == nil && bytes.Equal(old, raw) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(kept), 0o700); err != nil {
		return err
	}
	return replace(kept, raw)
}

// replace writes a file as a whole: after a power cut it holds the old bytes or the new ones.
func replace(path string, raw []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, werr := f.Write(raw)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
