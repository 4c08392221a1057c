package queue

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"tapedeck/recorder"
)

// Open connects to Redis and makes a Queue. The URL's scheme says what it is:
//
//	redis://user:password@host:6379/0, rediss://… (TLS), unix://user:password@/path?db=0
//	redis+sentinel://user:password@sentinel1:26379?master_name=main&addr=sentinel2:26379
//	redis+cluster://user:password@node1:6379?addr=node2:6379
//
// rediss+sentinel and rediss+cluster are the same over TLS. A redis:// URL with
// master_name or addr is understood as well. Further query parameters are
// go-redis's. Errors never show the URL's password.
func Open(ctx context.Context, rawURL string, opts Options) (*Queue, error) {
	connect, err := dialer(rawURL)
	if err != nil {
		return nil, err
	}
	rdb, blocking := connect(0), connect(blockingPool)
	q, err := newQueue(ctx, rdb, blocking, opts)
	if err != nil {
		return nil, errors.Join(err, rdb.Close(), blocking.Close())
	}
	q.opened = []redis.UniversalClient{rdb, blocking}
	if err := rdb.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(unavailable("connecting to "+recorder.RedactURL(rawURL), err), q.Close())
	}
	return q, nil
}

// blockingPool is how many reads may wait at once; connections are made as needed.
const blockingPool = 256

// dialer understands a URL and gives what makes clients of it. A poolSize of 0
// leaves what the URL says.
func dialer(rawURL string) (func(poolSize int) redis.UniversalClient, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// net/url quotes what it did not understand, which may be half a password.
		return nil, recorder.Errorf(recorder.CodeInvalid,
			"redis: not a URL: use redis://user:password@host:6379/0, with special characters of the password percent-encoded")
	}
	q := u.Query()
	scheme, kind, _ := strings.Cut(u.Scheme, "+")
	if kind == "" && scheme != "unix" {
		switch {
		case q.Has("master_name"):
			kind = "sentinel"
		case q.Has("addr"):
			kind = "cluster"
		}
	}
	u.Scheme = scheme
	var connect func(int) redis.UniversalClient
	switch kind {
	case "":
		connect, err = single(u.String())
	case "sentinel":
		connect, err = sentinel(u.String())
	case "cluster":
		connect, err = cluster(u.String())
	default:
		err = errors.New("unknown scheme " + u.Scheme + "+" + kind)
	}
	if err != nil {
		return nil, recorder.Errorf(recorder.CodeInvalid, "redis: %s: %s: use redis://, rediss://, unix://, "+
			"redis+sentinel:// or redis+cluster://", recorder.RedactURL(rawURL), conceal(err, u))
	}
	return connect, nil
}

// conceal gives an error's text without the URL's secrets.
func conceal(err error, u *url.URL) string {
	var pairs []string
	if password, ok := u.User.Password(); ok && password != "" {
		pairs = append(pairs, password, "{redacted}", url.QueryEscape(password), "{redacted}")
	}
	for name, values := range u.Query() {
		if strings.Contains(name, "password") {
			for _, v := range values {
				if v != "" {
					pairs = append(pairs, v, "{redacted}")
				}
			}
		}
	}
	text := strings.TrimPrefix(err.Error(), "redis: ")
	return strings.NewReplacer(pairs...).Replace(text)
}

func single(rawURL string) (func(int) redis.UniversalClient, error) {
	o, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, err
	}
	o.ContextTimeoutEnabled = true
	o.DialerRetries = 1 // whoever needs Redis tries again, with a back-off of its own
	o.MaintNotificationsConfig = quiet()
	return func(poolSize int) redis.UniversalClient {
		c := *o
		enlarge(&c.PoolSize, poolSize)
		return redis.NewClient(&c)
	}, nil
}

func sentinel(rawURL string) (func(int) redis.UniversalClient, error) {
	o, err := redis.ParseFailoverURL(rawURL)
	if err != nil {
		return nil, err
	}
	if o.MasterName == "" {
		return nil, errors.New("a Sentinel URL needs ?master_name=")
	}
	o.ContextTimeoutEnabled = true
	o.DialerRetries = 1
	return func(poolSize int) redis.UniversalClient {
		c := *o
		enlarge(&c.PoolSize, poolSize)
		return redis.NewFailoverClient(&c)
	}, nil
}

func cluster(rawURL string) (func(int) redis.UniversalClient, error) {
	o, err := redis.ParseClusterURL(rawURL)
	if err != nil {
		return nil, err
	}
	o.ContextTimeoutEnabled = true
	o.DialerRetries = 1
	o.MaintNotificationsConfig = quiet()
	return func(poolSize int) redis.UniversalClient {
		c := *o
		enlarge(&c.PoolSize, poolSize)
		return redis.NewClusterClient(&c)
	}, nil
}

func enlarge(size *int, to int) {
	if to > 0 {
		*size = to
	}
}

// quiet turns off a handshake that only one vendor's service answers; others
// log its refusal for every connection.
func quiet() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}
