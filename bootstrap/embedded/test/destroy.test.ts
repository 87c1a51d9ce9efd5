import { expect, it } from "vitest";
import { mountsBelow } from "../src/destroy.ts";

const mountinfo = `22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 254:1 /srv/lp/namespaces /srv/lp/namespaces rw - ext4 /dev/root rw
41 40 0:4 mnt:[4026532281] /srv/lp/namespaces/node1 rw - nsfs nsfs rw
42 22 0:50 / /srv/lp-other rw - tmpfs tmpfs rw
43 22 0:51 / /mnt/srv/lp/namespaces rw - tmpfs tmpfs rw
44 22 0:52 / /srv rw - tmpfs tmpfs rw
45 44 0:53 / /srv/lp rw - tmpfs tmpfs rw
`;

it("finds the mounts of a directory, outer before inner, and nobody else's", () => {
  expect(mountsBelow(mountinfo, "/srv/lp")).toEqual([
    "/srv/lp/namespaces",
    "/srv/lp/namespaces/node1",
    "/srv/lp",
  ]);
  expect(mountsBelow(mountinfo, "/srv/lp/namespaces/node1")).toEqual(["/srv/lp/namespaces/node1"]);
  expect(mountsBelow(mountinfo, "/srv/none")).toEqual([]);
  expect(mountsBelow("", "/srv/lp")).toEqual([]);
});

it("keeps every layer of a mount point that was mounted over, for as many umounts", () => {
  const twice = `${mountinfo}${mountinfo.split("\n")[1]}\n`;
  const at = mountsBelow(twice, "/srv/lp").filter((path) => path === "/srv/lp/namespaces");
  expect(at).toHaveLength(2);
});

it.each([
  ["a blank", "/srv/l p", "/srv/l\\040p"],
  ["a tab", "/srv/l\tp", "/srv/l\\011p"],
  ["a backslash", "/srv/l\\p", "/srv/l\\134p"],
  ["a number sign", "/srv/l#p", "/srv/l\\043p"],
])(
  "knows a directory with %s in its name, which the kernel writes in octal digits",
  (_, directory, written) => {
    const line = `46 22 254:1 ${written} ${written}/nodes rw - ext4 /dev/root rw\n`;
    expect(mountsBelow(line, directory)).toEqual([`${directory}/nodes`]);
  },
);
