package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func fileName(n byte) string {
	return FileName(NewID(time.Date(2026, 1, 2, 3, 4, int(n), 0, time.UTC), [8]byte{n}))
}

func mustPut(t testing.TB, target Target, name string, content []byte) {
	t.Helper()
	if err := target.Put(t.Context(), name, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

func mustGet(t testing.TB, target Target, name string) []byte {
	t.Helper()
	r, err := target.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func names(t testing.TB, target Target) []string {
	t.Helper()
	items, err := target.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := []string{}
	for _, i := range items {
		found = append(found, i.Name)
	}
	return found
}

// conformance is what every target must do.
func conformance(t *testing.T, target Target) {
	t.Run("nothing yet", func(t *testing.T) {
		if got := names(t, target); len(got) != 0 {
			t.Fatal(got)
		}
		if _, err := target.Get(t.Context(), fileName(1)); !errors.Is(err, ErrNotFound) {
			t.Errorf("get: %v", err)
		}
		if err := target.Delete(t.Context(), fileName(1)); !errors.Is(err, ErrNotFound) {
			t.Errorf("delete: %v", err)
		}
	})
	t.Run("sizes", func(t *testing.T) {
		for i, n := range []int{1, partBytes - 1, partBytes, partBytes + 1, 20 << 20} {
			name, want := fileName(byte(i)), content(n)
			// Without Seek and ReadAt, as a backup comes.
			if err := target.Put(t.Context(), name, iotest.HalfReader(bytes.NewReader(want))); err != nil {
				t.Fatal(err)
			}
			if got := mustGet(t, target, name); !bytes.Equal(got, want) {
				t.Fatalf("%d bytes came back as %d", n, len(got))
			}
			items, err := target.List(t.Context())
			if err != nil || len(items) != 1 || items[0].Name != name || items[0].Bytes != int64(n) ||
				time.Since(items[0].Modified).Abs() > time.Hour {
				t.Fatalf("%+v, %v", items, err)
			}
			if err := target.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("no backup replaces another", func(t *testing.T) {
		mustPut(t, target, fileName(1), []byte("first"))
		if err := target.Put(t.Context(), fileName(1), strings.NewReader("second")); !errors.Is(err, ErrExists) {
			t.Fatal(err)
		}
		if got := mustGet(t, target, fileName(1)); string(got) != "first" {
			t.Fatalf("%q", got)
		}
	})
	t.Run("names", func(t *testing.T) {
		for _, name := range []string{"", "a", "../" + fileName(9), "/etc/passwd", fileName(9) + "x", "x/" + fileName(9), fileName(9)[7:]} {
			if err := target.Put(t.Context(), name, strings.NewReader("x")); err == nil {
				t.Errorf("%q was stored", name)
			}
			if _, err := target.Get(t.Context(), name); !errors.Is(err, ErrNotFound) {
				t.Errorf("get %q: %v", name, err)
			}
			if err := target.Delete(t.Context(), name); !errors.Is(err, ErrNotFound) {
				t.Errorf("delete %q: %v", name, err)
			}
		}
		mustPut(t, target, fileName(3), []byte{3})
		mustPut(t, target, fileName(2), []byte{2})
		if want := []string{fileName(1), fileName(2), fileName(3)}; !slices.Equal(names(t, target), want) {
			t.Fatal(names(t, target))
		}
	})
	t.Run("a source that fails leaves nothing", func(t *testing.T) {
		gone := errors.New("the source is gone")
		for _, e := range []error{gone, io.ErrUnexpectedEOF, fmt.Errorf("cut: %w", io.EOF)} {
			for _, n := range []int{0, 10, partBytes + 10} {
				err := target.Put(t.Context(), fileName(7), io.MultiReader(bytes.NewReader(content(n)), iotest.ErrReader(e)))
				if !errors.Is(err, e) {
					t.Errorf("%v after %d bytes: %v", e, n, err)
				}
				if slices.Contains(names(t, target), fileName(7)) {
					t.Fatalf("%v after %d bytes left a half backup", e, n)
				}
			}
		}
	})
	t.Run("an end that comes early leaves nothing", func(t *testing.T) {
		for _, n := range []int{0, 10, partBytes + 10} {
			ctx, cancel := context.WithCancel(t.Context())
			end := readerFunc(func([]byte) (int, error) {
				cancel()
				return 0, nil
			})
			err := target.Put(ctx, fileName(7), io.MultiReader(bytes.NewReader(content(n)), end))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("after %d bytes: %v", n, err)
			}
			if slices.Contains(names(t, target), fileName(7)) {
				t.Fatalf("after %d bytes a half backup is left", n)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		mustPut(t, target, fileName(8), content(1<<20))
		r, err := target.Get(ctx, fileName(8))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		cancel()
		if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
			t.Errorf("read on: %v", err)
		}
		for what, err := range map[string]error{
			"list": second(target.List(ctx)), "get": second(target.Get(ctx, fileName(8))), "delete": target.Delete(ctx, fileName(8)),
		} {
			if !errors.Is(err, context.Canceled) && what != "get" {
				t.Errorf("%s: %v", what, err)
			}
		}
		if !slices.Contains(names(t, target), fileName(8)) {
			t.Error("it was deleted")
		}
	})
	t.Run("a whole backup", func(t *testing.T) {
		file, _ := mustWrite(t, testManifest(), content(100<<10))
		name := FileName(testManifest().ID)
		mustPut(t, target, name, file)
		r, err := target.Get(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, got, err := readAll(r, testKey(7)); err != nil || len(got) != 100<<10 {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		head, err := target.Get(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		defer head.Close()
		if m, err := ReadManifest(head); err != nil || m.ID != testManifest().ID {
			t.Fatal(err)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func second[T any](_ T, err error) error { return err }
