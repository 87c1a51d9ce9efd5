/** rclone, which the archiver's image has from Debian: installed where a test needs it and it is missing. */
import { execa } from "execa";

// apt waits for dpkg's lock but not for that of the lists, hence the lock around both. Nothing is left behind of it.
const install = `
  command -v rclone >/dev/null && exit
  apt="apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3"
  $apt install --yes --no-install-recommends rclone || { $apt update && $apt install --yes --no-install-recommends rclone; }`;

/**
 * Installs Debian's rclone if there is none on the PATH. Any number of processes may ask at once.
 * @throws an error that says what to install where this process may not install it
 */
export async function installRclone(): Promise<void> {
  if (await isThere("rclone")) return;
  if (process.getuid?.() !== 0 || !(await isThere("apt-get")))
    throw new Error(
      "the tests of the S3 copy need rclone, and it is not on the PATH\nnext: install it (Debian: apt-get install rclone)",
    );
  await execa("flock", ["/etc/apt", "sh", "-c", install], { env: { DEBIAN_FRONTEND: "noninteractive" } });
}

async function isThere(program: string): Promise<boolean> {
  const { exitCode } = await execa("sh", ["-c", 'command -v "$0"', program], { reject: false });
  return exitCode === 0;
}
