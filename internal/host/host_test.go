package host_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/usherhq/usher/internal/host"
)

func TestNormalize(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 63)
	for raw, want := range map[string]string{
		"example.com":                            "example.com",
		" EXAMPLE.com. ":                         "example.com",
		"https://www.example.com/pricing?a=b#c":  "example.com",
		"http://user:pass@Example.com:8080/x":    "example.com",
		"//example.com/x":                        "example.com",
		"example.com:443":                        "example.com",
		"example.com:":                           "example.com",
		"example.com/a//b":                       "example.com",
		"https://example.com?next=https://x.com": "example.com",
		"https://example.com#@other.example":     "example.com",
		"https://example.com@other.example/":     "other.example",
		"https://example.com:443@other.example/": "other.example",
		`https://example.com\@other.example`:     "example.com",
		"https://other.example/example.com":      "other.example",
		"example.com.other.example":              "example.com.other.example",
		"sub.example.com":                        "sub.example.com",
		"my_site.example.com":                    "my_site.example.com",
		"localhost:8080":                         "localhost",
		// www
		"www.www.example.com": "example.com",
		"www.com":             "www.com",
		"www.www.com":         "www.com",
		"www":                 "www",
		"wwww.example.com":    "wwww.example.com",
		// internationalised
		"BÜCHER.example":                          "xn--bcher-kva.example",
		"bu\u0308cher.example":                    "xn--bcher-kva.example",
		"https://www.Bücher.example:8443/x":       "xn--bcher-kva.example",
		"XN--BCHER-KVA.example":                   "xn--bcher-kva.example",
		"xn--bcher-kva.example.":                  "xn--bcher-kva.example",
		"straße.example":                          "xn--strae-oqa.example", // as browsers do, not "strasse"
		"例え.テスト":                                  "xn--r8jz45g.xn--zckzah",
		"例え。テスト":                                  "xn--r8jz45g.xn--zckzah",
		"ｅｘａｍｐｌｅ．com":                             "example.com",
		"مثال.إختبار":                             "xn--mgbh0fb.xn--kgbechtv",
		"İstanbul.example":                        "xn--istanbul-o0e.example",
		"i\u0307stanbul.example":                  "xn--istanbul-o0e.example",
		"xn--istanbul-o0e.example":                "xn--istanbul-o0e.example",
		"I\u0307STANBUL.example":                  "xn--istanbul-o0e.example",
		"192.0.2.7:80":                            "192.0.2.7",
		"http://[2001:DB8::1]:8080/x":             "2001:db8::1",
		"2001:db8:0::1":                           "2001:db8::1",
		"[::ffff:192.0.2.7]":                      "192.0.2.7",
		long + ".example":                         long + ".example",
		"android-app://com.example.app/x":         "com.example.app",
		"https://www.example.com:443/a@b:c?d=e:f": "example.com",
	} {
		got, err := host.Normalize(raw)
		if err != nil || got != want {
			t.Errorf("Normalize(%q) = %q, %v, want %q", raw, got, err, want)
			continue
		}
		if again, err := host.Normalize(got); err != nil || again != got {
			t.Errorf("Normalize(%q) = %q, %v: not idempotent", got, again, err)
		}
	}
}

func TestNormalizeRefuses(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"", " ", ".", "..", "a..b", ".example.com", "https://", "https:///x", "/pricing", "?a=b", "file:///etc",
		"mailto:ada@example.com:x", "about:blank", "javascript:alert(1)", "example.com:port", "exa mple.com", "ex%61mple.com",
		"example.com\x00", "a\x7f.example", "*.example.com", "<script>", "xn--a", "\xff.example",
		"http://[fe80::1%25eth0]/", "example.com,other.example", "a．．b", "ex／ample.com", "exa\u2488mple.com", "a\u2135.example",
		strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "com",
	} {
		if got, err := host.Normalize(raw); !errors.Is(err, host.ErrInvalid) || got != "" {
			t.Errorf("Normalize(%q) = %q, %v, want ErrInvalid", raw, got, err)
		}
	}
}

func TestASCIIKeepsWWW(t *testing.T) {
	t.Parallel()
	if got, err := host.ASCII("www.BÜCHER.example."); err != nil || got != "www.xn--bcher-kva.example" {
		t.Errorf("ASCII = %q, %v", got, err)
	}
	if _, err := host.ASCII("https://example.com"); !errors.Is(err, host.ErrInvalid) {
		t.Errorf("ASCII of a URL: %v, want ErrInvalid", err)
	}
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"https://www.Bücher.example:443/x", "xn--bcher-kva.example.", "[::1]:80", "www.www.com", "a@b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		h, err := host.Normalize(raw)
		if err != nil {
			return
		}
		if again, err := host.Normalize(h); err != nil || again != h {
			t.Fatalf("%q gives %q, then %q, %v", raw, h, again, err)
		}
		if h != strings.ToLower(h) || strings.ContainsAny(h, "/@ \x00?#") {
			t.Fatalf("%q gives %q", raw, h)
		}
	})
}

func BenchmarkNormalize(b *testing.B) {
	for _, raw := range []string{"https://www.example.com/pricing", "https://www.bücher.example/"} {
		b.Run(raw, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := host.Normalize(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
