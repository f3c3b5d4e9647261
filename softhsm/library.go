package softhsm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// LibraryEnv names the environment variable that gives the path of libsofthsm2.so and goes before every known place.
const LibraryEnv = "SOFTHSM2_LIB"

// places are the patterns of path/filepath.Glob where distributions install the module, most common first.
var places = []string{
	"/usr/lib/softhsm/libsofthsm2.so",           // Debian, Ubuntu
	"/usr/lib/*-linux-*/softhsm/libsofthsm2.so", // Debian, Ubuntu, multiarch
	"/usr/lib64/pkcs11/libsofthsm2.so",          // Fedora, RHEL
	"/usr/lib64/softhsm/libsofthsm2.so",         // openSUSE
	"/usr/lib64/libsofthsm2.so",                 // older Fedora
	"/usr/lib/pkcs11/libsofthsm2.so",            // Arch
	"/usr/lib/libsofthsm2.so",                   // Arch, Alpine
	"/opt/homebrew/lib/softhsm/libsofthsm2.so",  // Homebrew, Apple silicon
	"/usr/local/lib/softhsm/libsofthsm2.so",     // Homebrew on Intel, built from source
	"/home/linuxbrew/.linuxbrew/lib/softhsm/libsofthsm2.so",
}

// ErrNotFound is returned by Library when SoftHSM2 is not installed.
var ErrNotFound = errors.New("SoftHSM2 is not installed")

// Library returns the absolute path of the SoftHSM2 module. ErrNotFound when there is none; an error that names the
// variable when SOFTHSM2_LIB points to nothing.
func Library() (string, error) { return library(os.Getenv(LibraryEnv), places) }

func library(fromEnv string, patterns []string) (string, error) {
	if fromEnv != "" {
		path, err := filepath.Abs(fromEnv)
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			return "", fmt.Errorf("%s does not name a SoftHSM2 module: %w", LibraryEnv, err)
		}
		return path, nil
	}
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", fmt.Errorf("look for SoftHSM2: %w", err)
		}
		if len(found) > 0 {
			return found[0], nil
		}
	}
	return "", fmt.Errorf("%w: run `make deps`, or set %s to the path of libsofthsm2.so", ErrNotFound, LibraryEnv)
}
