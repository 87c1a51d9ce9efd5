/** What all pages have: the way to the others. */
import type { ReactNode } from "react";
import { NavLink } from "react-router-dom";

/** The dashboards by their path. */
export const dashboards: Record<string, string> = {
  platform: "Logging platform",
  cluster: "Cluster",
  mesh: "Mesh",
};

const entries: [path: string, title: string][] = [
  ["/", "Start"],
  ...Object.entries(dashboards).map(([name, title]): [string, string] => [`/${name}`, title]),
  ["/alerts", "Alerts"],
];

/** A page below the links to all of them. */
export function Frame({ children }: { children: ReactNode }) {
  return (
    <>
      <nav
        aria-label="Pages"
        style={{ display: "flex", flexWrap: "wrap", gap: "1.5em", padding: "0.75em 1em 0" }}
      >
        {entries.map(([path, title]) => (
          <NavLink
            key={path}
            to={path}
            end={true}
            style={({ isActive }) => ({ color: "inherit", fontWeight: isActive ? 700 : 400 })}
          >
            {title}
          </NavLink>
        ))}
      </nav>
      {children}
    </>
  );
}
