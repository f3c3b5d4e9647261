package cluster

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// raftLog hands what Raft and its stores log to slog. Raft sees sealed commands, addresses and indexes only, so no name
// and no secret can come this way.
type raftLog struct {
	log     *slog.Logger
	name    string
	implied []any
}

var _ hclog.Logger = (*raftLog)(nil)

// level maps the levels of hclog, one step down except for errors: Raft warns of each election, also of the one at every
// start, and tells its steps as "info". What an operator must act on shows in Status.
func level(l hclog.Level) slog.Level {
	switch l {
	case hclog.Error:
		return slog.LevelError
	case hclog.Warn:
		return slog.LevelInfo
	case hclog.NoLevel, hclog.Trace, hclog.Debug, hclog.Info, hclog.Off:
		return slog.LevelDebug
	default:
		return slog.LevelDebug
	}
}

// Log writes a message with its key-value pairs.
func (l *raftLog) Log(at hclog.Level, msg string, args ...any) {
	ctx := context.Background()
	if at == hclog.Off || !l.log.Enabled(ctx, level(at)) {
		return
	}
	plain := make([]any, 0, len(args))
	for _, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			if format, ok := f[0].(string); ok {
				a = fmt.Sprintf(format, f[1:]...)
			}
		}
		plain = append(plain, a)
	}
	l.log.Log(ctx, level(at), msg, plain...) //nolint:sloglint // the message is Raft's own constant
}

// Trace logs at the level of slog.LevelDebug.
func (l *raftLog) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }

// Debug logs at the level of slog.LevelDebug.
func (l *raftLog) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }

// Info logs at the level of slog.LevelDebug: see level.
func (l *raftLog) Info(msg string, args ...any) { l.Log(hclog.Info, msg, args...) }

// Warn logs at the level of slog.LevelInfo: see level.
func (l *raftLog) Warn(msg string, args ...any) { l.Log(hclog.Warn, msg, args...) }

// Error logs an error.
func (l *raftLog) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *raftLog) enabled(at hclog.Level) bool { return l.log.Enabled(context.Background(), level(at)) }

// IsTrace reports whether Trace writes anything.
func (l *raftLog) IsTrace() bool { return l.enabled(hclog.Trace) }

// IsDebug reports whether Debug writes anything.
func (l *raftLog) IsDebug() bool { return l.enabled(hclog.Debug) }

// IsInfo reports whether Info writes anything.
func (l *raftLog) IsInfo() bool { return l.enabled(hclog.Info) }

// IsWarn reports whether Warn writes anything.
func (l *raftLog) IsWarn() bool { return l.enabled(hclog.Warn) }

// IsError reports whether Error writes anything.
func (l *raftLog) IsError() bool { return l.enabled(hclog.Error) }

// ImpliedArgs returns the pairs that With added.
func (l *raftLog) ImpliedArgs() []any { return l.implied }

// With returns a logger that adds the pairs to every message.
func (l *raftLog) With(args ...any) hclog.Logger {
	return &raftLog{log: l.log.With(args...), name: l.name, implied: append(l.implied[:len(l.implied):len(l.implied)], args...)}
}

// Name returns the logger's name.
func (l *raftLog) Name() string { return l.name }

// Named returns a logger whose name has one more part.
func (l *raftLog) Named(name string) hclog.Logger {
	if l.name != "" {
		name = l.name + "." + name
	}
	return l.ResetNamed(name)
}

// ResetNamed returns a logger with another name.
func (l *raftLog) ResetNamed(name string) hclog.Logger {
	return &raftLog{log: l.log, name: name, implied: l.implied}
}

// SetLevel does nothing: the handler of slog decides.
func (l *raftLog) SetLevel(hclog.Level) {}

// GetLevel returns the lowest level that is written.
func (l *raftLog) GetLevel() hclog.Level {
	for _, at := range []hclog.Level{hclog.Debug, hclog.Warn, hclog.Error} {
		if l.enabled(at) {
			return at
		}
	}
	return hclog.Off
}

// StandardLogger returns a logger of package log whose lines go the same way.
func (l *raftLog) StandardLogger(opts *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(l.StandardWriter(opts), "", 0)
}

// StandardWriter returns a writer whose lines are logged as errors, or at the level that the options force.
func (l *raftLog) StandardWriter(opts *hclog.StandardLoggerOptions) io.Writer {
	at := hclog.Error
	if opts != nil && opts.ForceLevel != hclog.NoLevel {
		at = opts.ForceLevel
	}
	return lineWriter{l, at}
}

type lineWriter struct {
	log *raftLog
	at  hclog.Level
}

// Write logs one line.
func (w lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && p[len(p)-1] == '\n' {
		p = p[:len(p)-1]
	}
	w.log.Log(w.at, string(p))
	return n, nil
}
