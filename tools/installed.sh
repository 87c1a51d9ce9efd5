# installed.sh [DIRECTORY...]: ends a command of package.json, in words, where packages of the repository or of a service are missing.
for directory in . "$@"; do
  if [ -e "$directory/package.json" ] && ! [ -e "$directory/node_modules/.package-lock.json" ]; then
    case $directory in .) owner="the repository" ;; *) owner=$directory ;; esac
    echo "the packages of $owner are not installed" >&2
    echo "next: npm ci" >&2
    exit 1
  fi
done
