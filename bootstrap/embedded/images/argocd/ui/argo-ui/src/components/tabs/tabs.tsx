import classNames from "classnames";
import * as React from "react";
import "./tabs.scss";

export interface Tab {
  title: string;
  icon?: string;
  badge?: string | number;
  key: string;
  content: React.ReactNode;
  isOnlyContentScrollable?: boolean;
  noPadding?: boolean;
  extraVerticalScrollPadding?: number;
  extraHorizontalScrollPadding?: number;
}

export interface TabsProps {
  navCenter?: boolean;
  fixed?: boolean;
  navTransparent?: boolean;
  tabs: Tab[];
  selectedTabKey?: string;
  onTabSelected?: (tabKey: string) => any;
}

/** Tabs: the one that is chosen shows its content. The line below it moves by measuring once a choice, never after a drawing. */
export function Tabs({ navCenter, fixed, navTransparent, tabs, selectedTabKey, onTabSelected }: TabsProps) {
  const [chosen, setChosen] = React.useState(selectedTabKey);
  const [given, setGiven] = React.useState(selectedTabKey);
  if (given !== selectedTabKey) {
    setGiven(selectedTabKey);
    setChosen(selectedTabKey);
  }
  const key = chosen || tabs[0]?.key;
  const selected = tabs.find((tab) => tab.key === key);
  const nav = React.useRef<HTMLDivElement>(null);
  const [line, setLine] = React.useState({ left: 0, right: 0 });
  const titles = tabs.map(({ title, badge }) => `${title} ${badge ?? ""}`).join("\n");
  React.useLayoutEffect(() => {
    const active = nav.current?.querySelector<HTMLElement>(".active");
    if (!nav.current || !active) return;
    const left = active.offsetLeft;
    const right = nav.current.offsetWidth - active.offsetWidth - left;
    setLine((now) => (now.left === left && now.right === right ? now : { left, right }));
  }, [key, titles]);
  const scrolls = selected?.isOnlyContentScrollable;
  return (
    <div className="tabs">
      <div className={classNames("tabs__nav", { center: navCenter, transparent: navTransparent })}>
        <div className={classNames({ "fixed-width": fixed })}>
          <div className="tabs__nav-wrapper" ref={nav} role="tablist">
            {tabs.map((tab) => (
              <a
                key={tab.key}
                role="tab"
                aria-selected={tab.key === key}
                onClick={() => {
                  setChosen(tab.key);
                  onTabSelected?.(tab.key);
                }}
                className={classNames({ active: tab.key === key })}
              >
                {tab.icon && <i className={`fa ${tab.icon}`} />} {tab.title}
                {tab.badge && <span className="fa-stack has-badge" data-count={tab.badge} />}
              </a>
            ))}
            <div className="tabs__indicator to-right" style={line} />
          </div>
        </div>
      </div>
      {selected && (
        <div
          className={classNames("tabs__content", {
            "tabs__content--scrollable": scrolls,
            "tabs__content--no-padding": selected.noPadding,
          })}
          style={{
            height: scrolls ? `calc(100vh - ${selected.extraVerticalScrollPadding ?? 0}px)` : "inherit",
            width: `calc(100% - ${selected.extraHorizontalScrollPadding ?? 0}px)`,
          }}
        >
          {selected.content}
        </div>
      )}
    </div>
  );
}
