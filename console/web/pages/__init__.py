"""The pages of the console for people who are logged in, a module for each subject."""
