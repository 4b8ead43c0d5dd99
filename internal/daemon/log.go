package daemon

import (
	"io"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// NewLogger writes lines for people to w, those of the level and worse.
func NewLogger(w io.Writer, level zapcore.Level, more ...zap.Option) *zap.Logger {
	enc := zap.NewDevelopmentEncoderConfig()
	enc.EncodeLevel = zapcore.LowercaseLevelEncoder
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(enc), zapcore.Lock(zapcore.AddSync(w)), level), more...)
}

// newLogger is the daemon's own. troubled, if not nil, is set once a warning or
// an error was written.
func newLogger(w io.Writer, troubled *atomic.Bool) *zap.Logger {
	return NewLogger(w, zapcore.InfoLevel, zap.Hooks(func(e zapcore.Entry) error {
		if troubled != nil && e.Level >= zapcore.WarnLevel {
			troubled.Store(true)
		}
		return nil
	}))
}
