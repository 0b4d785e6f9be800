// Counts the lines, words and bytes of texts: a pull worker that needs nothing but Go's standard library.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var (
	base    = strings.TrimRight(cmp.Or(os.Getenv("WAITLESS_URL"), "http://127.0.0.1:7878"), "/")
	key     = os.Getenv("WAITLESS_API_KEY")
	service = cmp.Or(os.Getenv("WAITLESS_SERVICE"), "texts")
	// The work is made slow on purpose: each of its three steps takes this long.
	stepTime = seconds("STEP_SECONDS", "1")
	// A worker that dies is noticed after this time. As long as it lives, it extends its lease three times as often.
	leaseTime = seconds("LEASE_SECONDS", "30")
	client    = &http.Client{Timeout: time.Minute}
)

var errLost = errors.New("the work was cancelled or belongs to somebody else by now")

type lease struct {
	Token     string
	Operation struct{ ID string }
	Request   struct {
		Body       *string
		BodyBase64 []byte
	}
}

func (l lease) path(verb string) string { return "/v1/leases/" + l.Token + "/" + verb }

func seconds(name, usual string) time.Duration {
	number, err := strconv.ParseFloat(cmp.Or(os.Getenv(name), usual), 64)
	if err != nil {
		log.Fatalf("%s: %v", name, err)
	}
	return time.Duration(number * float64(time.Second))
}

// pause waits, or ends early with the context's error.
func pause(ctx context.Context, length time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(length):
		return nil
	}
}

// post sends one request. An error means that no answer came.
func post(ctx context.Context, path string, body []byte) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, "POST", base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// insist asks until there is an answer that a repeat would not change, also while the server restarts.
func insist(ctx context.Context, path string, body []byte) (int, []byte, error) {
	for {
		status, answer, err := post(ctx, path, body)
		if ctx.Err() != nil {
			return 0, nil, ctx.Err()
		}
		if err == nil && status < 500 && status != http.StatusTooManyRequests {
			return status, answer, nil
		}
		log.Printf("%s: %d %s %v; again in a second", path[strings.LastIndex(path, "/")+1:], status, answer, err)
		if err := pause(ctx, time.Second); err != nil {
			return 0, nil, err
		}
	}
}

// tell answers or reports. A lease that is no longer ours is 404 or 409.
func tell(ctx context.Context, path string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	status, answer, err := insist(ctx, path, body)
	switch {
	case err != nil:
		return err
	case status == http.StatusNotFound || status == http.StatusConflict:
		return errLost
	case status != http.StatusOK:
		return fmt.Errorf("%d: %s", status, answer)
	}
	return nil
}

// keepAlive extends the lease while the work goes on; progress does so too, but not while one step takes long.
func keepAlive(ctx context.Context, l lease) {
	extension := fmt.Appendf(nil, `{"leaseSeconds":%g}`, leaseTime.Seconds())
	for pause(ctx, leaseTime/3) == nil {
		// The next one may get through where this does not; if none does, the work goes to another worker.
		_, _, _ = post(ctx, l.path("extend"), extension)
	}
}

type counts struct {
	By    string `json:"by"`
	Lines int    `json:"lines"`
	Words int    `json:"words"`
	Bytes int    `json:"bytes"`
}

func work(ctx context.Context, l lease, text []byte) (counts, error) {
	result := counts{By: "go"}
	isSpace := func(letter rune) bool { return strings.ContainsRune(" \t\n\r\v\f", letter) }
	steps := []struct {
		name  string
		count func()
	}{
		{"lines", func() { result.Lines = bytes.Count(text, []byte("\n")) }},
		{"words", func() { result.Words = len(bytes.FieldsFunc(text, isSpace)) }},
		{"bytes", func() { result.Bytes = len(text) }},
	}
	for number, step := range steps {
		report := map[string]any{"stage": "counting " + step.name, "percent": 100 * number / len(steps)}
		if err := tell(ctx, l.path("progress"), report); err != nil {
			return result, err
		}
		if err := pause(ctx, stepTime); err != nil {
			return result, err
		}
		step.count()
	}
	return result, nil
}

func handle(ctx context.Context, l lease) error {
	working, done := context.WithCancel(ctx)
	defer done()
	go keepAlive(working, l)
	text := l.Request.BodyBase64
	if l.Request.Body != nil {
		text = []byte(*l.Request.Body)
	}
	if len(text) == 0 {
		why := map[string]any{"code": "no-text", "message": "there is no text to count", "retry": false}
		return tell(ctx, l.path("fail"), why)
	}
	result, err := work(ctx, l, text)
	if err != nil {
		return err
	}
	return tell(ctx, l.path("reply"), result)
}

func main() {
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	ask := fmt.Appendf(nil, `{"worker":"go","waitSeconds":30,"leaseSeconds":%g}`, leaseTime.Seconds())
	for ctx.Err() == nil {
		status, answer, err := insist(ctx, "/v1/services/"+service+"/leases", ask)
		if err != nil {
			break
		}
		var taken struct{ Leases []lease }
		if err := json.Unmarshal(answer, &taken); err != nil || status != http.StatusOK {
			log.Fatalf("%d: %s %v", status, answer, err)
		}
		for _, l := range taken.Leases {
			switch err := handle(ctx, l); {
			case ctx.Err() != nil:
				// Given back, it is free for the next worker at once and costs no attempt.
				_, _, _ = post(context.Background(), l.path("release"), nil)
			case errors.Is(err, errLost):
				log.Printf("%s: %v", l.Operation.ID, err)
			case err != nil:
				log.Fatal(err)
			}
		}
	}
	log.Print("stopped")
}
