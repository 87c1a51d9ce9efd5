/** Debian packages that the embedded cluster needs. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Failure } from "../../../lib/failure.ts";
import { run, succeeds } from "../../../lib/process.ts";
import { progress } from "../../../lib/progress.ts";

/**
 * Package name → a file that shows whether the package is installed. There are several if another package has the same
 * program in another place: Docker's containerd.io has runc in /usr/bin.
 */
const packages: Record<string, string | string[]> = {
  buildah: "/usr/bin/buildah",
  "ca-certificates": "/usr/sbin/update-ca-certificates",
  conntrack: "/usr/sbin/conntrack",
  containerd: ["/usr/bin/containerd", "/usr/local/bin/containerd"],
  "containernetworking-plugins": "/usr/lib/cni/ptp",
  curl: "/usr/bin/curl",
  "docker-registry": "/usr/bin/docker-registry",
  git: "/usr/bin/git",
  haproxy: "/usr/sbin/haproxy",
  iproute2: "/usr/sbin/ip",
  // kube-router keeps the addresses of a policy's pods in IP sets.
  ipset: "/usr/sbin/ipset",
  iptables: "/usr/sbin/iptables",
  mmdebstrap: "/usr/bin/mmdebstrap",
  "python3-pip": "/usr/bin/pip3",
  runc: ["/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc"],
  supervisor: "/usr/bin/supervisord",
  "util-linux": "/usr/bin/nsenter",
};

/** Packages whose service starts with the machine. Here the platform's supervisor runs their programs. */
const daemons = ["containerd", "docker-registry", "haproxy", "supervisor"];

/** The packages whose file is missing. */
export const missingPackages = (exists: (path: string) => boolean = existsSync): string[] =>
  Object.entries(packages)
    .filter(([, files]) => ![files].flat().some(exists))
    .map(([name]) => name);

const apt = ["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"];

/** Arguments with which apt-get installs packages. If one conflicts with an installed package, it fails and removes nothing. */
export const installArguments = (names: string[]): string[] => [
  ...apt,
  ...["install", "-y", "--no-install-recommends", "--no-remove"],
  ...names,
];

/**
 * Installs the missing packages, without starting any daemon or removing anything.
 * @throws Failure if apt-get is missing or fails
 */
export async function installPackages(): Promise<void> {
  const missing = missingPackages();
  if (missing.length === 0) return;
  if (!existsSync("/usr/bin/apt-get")) {
    throw new Failure(
      `missing programs and no apt-get to install them: ${missing.join(" ")}`,
      `use a machine with Debian (or install these packages: ${missing.join(" ")})`,
    );
  }
  progress(`installing ${missing.length} Debian packages`);
  const policy = "/usr/sbin/policy-rc.d";
  const ours = "#!/bin/sh\n# no daemon starts while logging-platform installs packages\nexit 101\n";
  // A killed run may have left our own file behind. A file of anybody else stays untouched.
  const keep = existsSync(policy) && readFileSync(policy, "utf8") !== ours;
  if (!keep) writeFileSync(policy, ours, { mode: 0o755 });
  try {
    const install = installArguments(missing);
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    if (!(await succeeds("apt-get", install, { env, quiet: false }))) {
      await run("apt-get", [...apt, "update"], { env });
      await run("apt-get", install, { env });
    }
    // Their packages enable them, and they would take our ports when the machine starts next.
    const units = daemons.filter((name) => missing.includes(name));
    await succeeds("systemctl", ["disable", ...units], { quiet: false });
  } finally {
    if (!keep) rmSync(policy, { force: true });
  }
}
