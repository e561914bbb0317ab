# shellcheck shell=sh
# Heroku runs this before each process; DYNO is set there. Its Redis signs its certificates itself, so that nobody can
# check them. An address with an option of its own stays as it is.
case "${DYNO:+${REDIS_URL-}}" in
    *\?*) ;;
    rediss://*) export REDIS_URL="$REDIS_URL?ssl_cert_reqs=none" ;;
esac
