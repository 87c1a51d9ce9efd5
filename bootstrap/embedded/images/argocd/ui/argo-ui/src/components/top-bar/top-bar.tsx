import classNames from "classnames";
import * as React from "react";
import { Link } from "react-router-dom";
import { Checkbox } from "../checkbox";
import { DropDown } from "../dropdown/dropdown";
import { DropDownMenu } from "../dropdown-menu";
import "./top-bar.scss";

export interface TopBarFilter<T> {
  items: {
    label?: string;
    value?: T;
    content?: (changeSelection: (selectedValues: T[]) => any) => React.ReactNode;
  }[];
  selectedValues: T[];
  selectionChanged: (selectedValues: T[]) => any;
}

interface Action {
  action: () => any;
  title: string | React.ReactElement;
  iconClassName?: string;
  qeId?: string;
  disabled?: boolean;
}

/** A button with more of its kind behind an arrow. */
export interface SplitButtonAction extends Action {
  subActions: Action[];
}

export interface ActionMenu {
  className?: string;
  items: (Action | SplitButtonAction)[];
}

export interface Toolbar {
  filter?: TopBarFilter<any>;
  breadcrumbs?: { title: any; path?: string }[];
  tools?: React.ReactNode;
  actionMenu?: ActionMenu;
}

export interface TopBarProps {
  title: string;
  toolbar?: Toolbar;
  hasTools?: boolean;
}

function Filter({ filter }: { filter: TopBarFilter<any> }) {
  const { items, selectedValues, selectionChanged } = filter;
  const toggle = (value: any): void =>
    selectionChanged(
      selectedValues.includes(value)
        ? selectedValues.filter((one) => one !== value)
        : [...selectedValues, value],
    );
  return (
    <DropDown
      isMenu={true}
      anchor={() => (
        <div
          className={classNames("top-bar__filter", {
            "top-bar__filter--selected": selectedValues.length > 0,
          })}
          title="Filter"
        >
          <i className="argo-icon-filter" aria-hidden="true" />
          <i className="fa fa-angle-down" aria-hidden="true" />
        </div>
      )}
    >
      <ul>
        {items.map(({ value, label, content }, index) => (
          <li key={`${value} ${index}`} className={classNames({ "top-bar__filter-item": !content })}>
            {content?.(selectionChanged) ?? (
              <>
                <Checkbox
                  id={`filter__${value}`}
                  checked={selectedValues.includes(value)}
                  onChange={() => toggle(value)}
                />
                <label htmlFor={`filter__${value}`}>{label}</label>
              </>
            )}
          </li>
        ))}
      </ul>
    </DropDown>
  );
}

function Button({ item }: { item: Action | SplitButtonAction }) {
  const button = (
    <button
      type="button"
      disabled={Boolean(item.disabled)}
      qe-id={item.qeId}
      className="argo-button argo-button--base"
      onClick={() => item.action()}
      style={{ marginRight: 2 }}
    >
      {item.iconClassName && (
        <i className={item.iconClassName} style={{ marginLeft: "-5px", marginRight: "5px" }} />
      )}
      {item.title}
    </button>
  );
  if (!("subActions" in item)) return button;
  return (
    <span className="argo-split-button">
      {button}
      <DropDownMenu
        anchor={() => (
          <button type="button" className="argo-button argo-button--base" aria-label="More">
            <i className="fa fa-caret-down" />
          </button>
        )}
        items={item.subActions}
      />
    </span>
  );
}

/** The actions of a menu as buttons. */
export const ActionButtons = ({ menu }: { menu: ActionMenu }) => (
  <div className={menu.className}>
    {menu.items.map((item, index) => (
      <Button key={item.qeId ?? index} item={item} />
    ))}
  </div>
);

function Breadcrumbs({ of }: { of: { title: any; path?: string }[] }) {
  return (
    <div className="top-bar__breadcrumbs">
      {of.map(({ title, path }, index) => (
        <React.Fragment key={index}>
          {index === of.length - 1 ? (
            <span className="top-bar__breadcrumbs-last-item">{title}</span>
          ) : (
            <>
              <Link to={path ?? "."}> {title} </Link>
              <span className="top-bar__sep" />
            </>
          )}
        </React.Fragment>
      ))}
    </div>
  );
}

/** Where one is, and below it what one can do. */
export const TopBar = ({ title, toolbar, hasTools }: TopBarProps) => (
  <div>
    <div className="top-bar">
      <div className="row">
        <div className="columns top-bar__left-side">
          {toolbar?.breadcrumbs && <Breadcrumbs of={toolbar.breadcrumbs} />}
        </div>
        <div className="top-bar__title text-truncate top-bar__right-side">{title}</div>
      </div>
    </div>
    {toolbar && hasTools && (
      <div className="top-bar row">
        <div className="columns small-9 top-bar__left-side">
          {toolbar.actionMenu && <ActionButtons menu={toolbar.actionMenu} />}
        </div>
        <div className="columns small-3 top-bar__right-side">
          {toolbar.filter && <Filter filter={toolbar.filter} />}
          {toolbar.tools}
        </div>
      </div>
    )}
  </div>
);
