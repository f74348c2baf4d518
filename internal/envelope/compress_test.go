package envelope_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/usherhq/usher/internal/envelope"
)

// limit is what a payload may expand to: well above any body that ingest accepts.
const limit = 32 << 20

func TestCompress_roundTrip(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "in")
		in = bytes.Repeat(in, rapid.IntRange(1, 50).Draw(t, "times"))
		out, err := envelope.Decompress(envelope.Compress(in))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(in, out) {
			t.Fatalf("%d bytes came back as %d other ones", len(in), len(out))
		}
	})
}

func TestCompress_shrinks(t *testing.T) {
	t.Parallel()

	in := bytes.Repeat([]byte(`{"url":"https://www.example.com/"},`), 100)
	if out := envelope.Compress(in); len(out) > len(in)/10 {
		t.Errorf("%d bytes of repetition compressed to %d only", len(in), len(out))
	}
}

func TestDecompress_damaged(t *testing.T) {
	t.Parallel()

	good := envelope.Compress(bytes.Repeat([]byte("a webhook's body, long enough "), 100))
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 0xff // the checksum
	for name, in := range map[string][]byte{
		"not compressed":  []byte(`{"plain":"json"}`),
		"cut off":         good[:len(good)/2],
		"header only":     good[:4],
		"checksum":        flipped,
		"garbage behind":  append(bytes.Clone(good), "garbage"...),
		"gzip":            {0x1f, 0x8b, 8, 0, 0, 0, 0, 0},
		"oversized claim": {0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	} {
		if out, err := envelope.Decompress(in); !errors.Is(err, envelope.ErrRaw) || out != nil {
			t.Errorf("%s: Decompress = %d bytes, %v, want ErrRaw", name, len(out), err)
		}
	}
}

// TestDecompress_bomb: a few kilobytes must not become more memory than the limit, declared or not.
func TestDecompress_bomb(t *testing.T) {
	t.Parallel()

	zeros := make([]byte, limit+1)
	var undeclared bytes.Buffer
	w, err := zstd.NewWriter(&undeclared, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // several writes, so that the frame cannot declare its size
		if _, err := w.Write(zeros[:limit/2]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	half := envelope.Compress(zeros[:limit/2])
	for name, in := range map[string][]byte{
		"declared":       envelope.Compress(zeros),
		"undeclared":     undeclared.Bytes(),
		"several frames": bytes.Repeat(half, 3),
	} {
		if len(in) > 64<<10 {
			t.Fatalf("%s: %d bytes are no bomb", name, len(in))
		}
		if out, err := envelope.Decompress(in); !errors.Is(err, envelope.ErrRaw) {
			t.Errorf("%s: Decompress = %d bytes, %v, want ErrRaw", name, len(out), err)
		}
	}
	if out, err := envelope.Decompress(half); err != nil || len(out) != limit/2 {
		t.Errorf("Decompress within the limit = %d bytes, %v", len(out), err)
	}
}

func FuzzDecompress(f *testing.F) {
	f.Add(envelope.Compress([]byte("x")))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd})
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := envelope.Decompress(in)
		if err != nil && !errors.Is(err, envelope.ErrRaw) {
			t.Fatalf("Decompress error of no known kind: %v", err)
		}
		if len(out) > limit {
			t.Fatalf("%d bytes became %d", len(in), len(out))
		}
	})
}
