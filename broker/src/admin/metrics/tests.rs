//! The page as a scraper sees it.
