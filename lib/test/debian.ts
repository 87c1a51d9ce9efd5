/** Debian packages that tests stand on. */
import { execFileSync } from "node:child_process";

// apt waits for dpkg's lock but not for that of the lists, hence the lock around both.
const script = `
  command -v "$0" >/dev/null && exit
  apt="apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3"
  $apt install --yes --no-install-recommends "$1" || { $apt update && $apt install --yes --no-install-recommends "$1"; }`;

/**
 * Installs a package where the program that it brings is missing. Any number of processes may ask at once.
 * @throws an error with apt's last words
 */
export function installed(program: string, name = program): void {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  execFileSync("flock", ["/etc/apt", "sh", "-c", script, program, name], { env, stdio: "pipe" });
}
