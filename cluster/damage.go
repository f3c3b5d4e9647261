package cluster

import (
	"errors"
	"fmt"
)

var (
	// ErrDamaged is data on disk that is not as this program wrote it. The error names what is damaged.
	ErrDamaged = errors.New("damaged")
	// ErrWrongKey is a storage key, or a cluster id, under which nothing in the directory opens.
	ErrWrongKey = errors.New("wrong storage key")
	// ErrInUse is a directory that another process, or another node of this process, has open.
	ErrInUse = errors.New("in use")
	// ErrClosed is what calls of a closed node give.
	ErrClosed = errors.New("the node is closed")
)

const afterDamage = "nothing was changed: keep a copy of the directory, check the disk, and put back a copy of the whole " +
	"directory that was made before the damage"

// damaged returns an error that names what is damaged, how that shows, and what an operator does next.
func damaged(what, how string) error {
	return fmt.Errorf("%s is %w: %s; %s", what, ErrDamaged, how, afterDamage)
}

// guard turns a panic of a library that met damaged data into an error. It is deferred by functions that call bbolt.
func guard(what string, err *error) {
	if r := recover(); r != nil {
		*err = damaged(what, fmt.Sprintf("reading it failed with %v", r))
	}
}
